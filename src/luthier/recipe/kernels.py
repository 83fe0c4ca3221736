"""The switches of fused pieces of a model."""

from __future__ import annotations

from typing import Literal

from luthier.recipe.field import Section, setting

Switch = Literal["auto", "on", "off"]


class Kernels(Section):
    """Fused pieces of the model; each changes no result beyond rounding."""

    cross_entropy: Switch = setting(
        "auto",
        en="A loss that never holds all logits at once.",
        zh="不一次性构造全部 logits 的损失。",
        up=("Large vocabularies.", "大词表时开启。"),
        down=("To compare with the plain one.", "与普通实现对比时关闭。"),
        cost=(
            "Saves most of tokens x vocabulary x 4 bytes: 2 GB for 4,096 tokens of a vocabulary of 128,000.",
            "可省去大部分 词元数 x 词表 x 4 字节:4,096 词元、12.8 万词表约 2 GB。",
        ),
        history=(
            "flash_attn_cross_entropy, cut_cross_entropy, unsloth_cross_entropy_loss and others were switches for this.",
            "flash_attn_cross_entropy、cut_cross_entropy、unsloth_cross_entropy_loss 等都是它的开关。",
        ),
        misread=(
            "flash_attn_cross_entropy is no option of attention: it is a fused kernel of the loss that came in the flash-attn package.",
            "flash_attn_cross_entropy 不是注意力的选项,而是 flash-attn 包里附带的融合损失内核。",
        ),
    )
    rms_norm: Switch = setting(
        "auto",
        en="RMSNorm in one kernel.",
        zh="单内核 RMSNorm。",
        up=("The model uses RMSNorm.", "模型使用 RMSNorm 时开启。"),
        down=("To compare with the plain one.", "与普通实现对比时关闭。"),
        cost=(
            "A little time and memory traffic saved; the numbers are the same but for rounding.",
            "略省时间与访存;除舍入外数值相同。",
        ),
        history=(
            "flash_attn_rms_norm; today's Axolotl refuses it.",
            "旧名 flash_attn_rms_norm,如今的 Axolotl 会拒绝。",
        ),
        misread=(
            "flash_attn_rms_norm is no option of attention: it is a fused kernel of the norm.",
            "flash_attn_rms_norm 不是注意力的选项,而是归一化层的融合内核。",
        ),
    )
    fuse_qkv: Switch = setting(
        "auto",
        en="Query, key and value in one matrix product; un-fused again on save.",
        zh="Q、K、V 合为一次矩阵乘;保存时还原。",
        up=("Small models, bound by launches.", "小模型受启动开销限制时开启。"),
        down=("Adapters sit on single layers.", "适配器加在单独层上时关闭。"),
        cost=("One launch instead of three; no memory.", "一次启动代替三次;不占显存。"),
        history=(
            "flash_attn_fuse_qkv; Axolotl has dropped it without a word since 0.12 (2025).",
            "旧名 flash_attn_fuse_qkv;Axolotl 自 0.12(2025)起静默忽略。",
        ),
        misread=(
            "flash_attn_fuse_qkv changes nothing within attention: it joins the three projections before it.",
            "flash_attn_fuse_qkv 不改变注意力本身,只合并其前的三个投影。",
        ),
    )
    fuse_mlp: Switch = setting(
        "auto",
        en="Gate and up projection in one matrix product; un-fused again on save.",
        zh="门控与上投影合为一次矩阵乘;保存时还原。",
        up=("As fuse_qkv.", "同 fuse_qkv。"),
        down=("As fuse_qkv.", "同 fuse_qkv。"),
        cost=("One launch instead of two; no memory.", "一次启动代替两次;不占显存。"),
        history=(
            "flash_attn_fuse_mlp; an error with LoRA in Axolotl.",
            "旧名 flash_attn_fuse_mlp;在 Axolotl 中与 LoRA 同用会报错。",
        ),
        misread=(
            "flash_attn_fuse_mlp has nothing to do with attention: it joins two projections of the MLP.",
            "flash_attn_fuse_mlp 与注意力无关,只合并 MLP 的两个投影。",
        ),
    )
    rotary: Switch = setting(
        "auto",
        en="Rotary positions in one kernel.",
        zh="单内核旋转位置编码。",
        up=("The model uses rotary positions.", "模型使用旋转位置编码时开启。"),
        down=("To compare with the plain one.", "与普通实现对比时关闭。"),
        cost=(
            "A little time and memory traffic saved; the numbers are the same but for rounding.",
            "略省时间与访存;除舍入外数值相同。",
        ),
    )
    lora: Switch = setting(
        "auto",
        en="LoRA's layer in one function, in the compute type.",
        zh="LoRA 层合为一个函数,以计算精度运行。",
        up=("LoRA on layers that are not quantised.", "在未量化的层上使用 LoRA 时开启。"),
        down=("To compare with PEFT's own.", "与 PEFT 自身的实现对比时关闭。"),
        cost=(
            "Saves the copies of each layer's input in fp32; the numbers are the same but for rounding.",
            "省去各层输入的 fp32 副本;除舍入外数值相同。",
        ),
    )
    liger: Switch = setting(
        "auto",
        en="Liger's Triton kernels for norms and gated MLPs; auto takes them on CUDA where they are installed.",
        zh="用 Liger 的 Triton 内核计算归一化与门控 MLP;auto 在 CUDA 上且已安装时采用。",
        up=("On CUDA, to save memory and time.", "CUDA 上省显存与时间时开启。"),
        down=("To compare with the plain ones.", "与普通实现对比时关闭。"),
        cost=(
            "Saves some of the activations' memory. It leaves the logits alone, whose memory cross_entropy saves.",
            "可省去部分激活显存。它不涉及 logits,其显存由 cross_entropy 节省。",
        ),
    )
    onednn: Switch = setting(
        "auto",
        en="fp32 products of linear layers through oneDNN in place of MKL; auto takes it on AMD's processors.",
        zh="线性层的 fp32 矩阵乘改用 oneDNN 而非 MKL;auto 在 AMD 处理器上采用。",
        up=("fp32 on a CPU that is not Intel's.", "在非 Intel 的 CPU 上以 fp32 计算时开启。"),
        down=("To compare with MKL's.", "与 MKL 对比时关闭。"),
        cost=(
            "Saves time on AMD's processors; the numbers are the same but for rounding.",
            "在 AMD 处理器上省时间;除舍入外数值相同。",
        ),
    )
