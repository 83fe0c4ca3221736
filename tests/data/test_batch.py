"""Documents laid end to end, none of them visible in another's labels or positions."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from luthier.data.batch import IGNORED, Batch, collate
from luthier.data.tokens import Tokens


def document(ids: list[int], trained: list[bool], origin: str = "d:1") -> Tokens:
    return Tokens(np.array(ids, np.int32), np.array(trained, np.bool_), origin)


def test_a_batch_by_hand() -> None:
    batch = collate([document([5, 6, 7], [True, False, True], "a:1"), document([8, 9], [True, True], "b:2")])
    assert batch.input_ids.tolist() == [[5, 6, 7, 8, 9]]
    assert batch.labels.tolist() == [[IGNORED, 7, IGNORED, 9, IGNORED]]
    assert batch.position_ids.tolist() == [[0, 1, 2, 0, 1]]
    assert batch.boundaries.tolist() == [0, 3, 5]
    assert batch.origins == ("a:1", "b:2")
    assert (batch.targets, batch.tokens, batch.longest) == (2, 5, 3)
    assert batch.input_ids.dtype == batch.labels.dtype == torch.int64 and batch.boundaries.dtype == torch.int32


MASKS = st.lists(st.lists(st.booleans(), min_size=1, max_size=7), min_size=1, max_size=6)


@given(MASKS)
@settings(max_examples=100, deadline=None)
def test_labels_never_cross_documents(masks: list[list[bool]]) -> None:
    numbers = iter(range(1000))
    documents = [document([next(numbers) for _ in mask], mask) for mask in masks]
    batch: Batch = collate(documents)
    expected: list[int] = []
    positions: list[int] = []
    for one in documents:
        ids, flags = one.ids.tolist(), one.trained.tolist()
        expected += [then if flag else IGNORED for then, flag in zip(ids[1:], flags[1:], strict=True)] + [IGNORED]
        positions += range(len(ids))
    assert batch.labels[0].tolist() == expected
    assert batch.position_ids[0].tolist() == positions
    firsts = {int(one.ids[0]) for one in documents}
    assert not firsts & set(batch.labels[0].tolist())
    assert batch.targets == int((batch.labels != IGNORED).sum()) == sum(one.targets for one in documents)
    assert batch.boundaries.diff().tolist() == [len(mask) for mask in masks]
    assert batch.longest == max(map(len, masks)) and batch.tokens == sum(map(len, masks))


def test_a_batch_stays_itself_on_its_own_device() -> None:
    batch = collate([document([5, 6], [True, True])])
    assert batch.to(torch.device("cpu")) is batch


def test_every_tensor_of_a_batch_goes_to_the_device() -> None:
    batch = collate([document([5, 6], [True, True])]).to(torch.device("meta"))
    tensors = (batch.input_ids, batch.labels, batch.position_ids, batch.boundaries)
    assert {tensor.device.type for tensor in tensors} == {"meta"} and batch.targets == 1
