"""The encoder-decoder, held against PyTorch's own `nn.Transformer` with the same weights, padding included."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from gptviz.attention import fast_attention, plain_attention
from gptviz.config import TransformerConfig
from gptviz.seq2seq import PADDING, Transformer, positional_encoding

CONFIG = TransformerConfig(vocab_size=50, context=24, n_layers=3, n_heads=4, d_model=32, d_ff=48)
KERNELS = [plain_attention, fast_attention]


def random_model(seed: int = 0, config: TransformerConfig = CONFIG) -> Transformer:
    """Every parameter random, norms and biases too, so that none can be left out unseen."""
    torch.manual_seed(seed)
    model = Transformer(config)
    with torch.no_grad():
        for name, value in model.named_parameters():
            value.copy_((1.0 if name.endswith("norm.weight") else 0.0) + 0.3 * torch.randn_like(value))
    return model


def pytorch_twin(model: Transformer) -> nn.Transformer:
    """PyTorch's encoder-decoder of the same shape, post-norm and ReLU, with copies of `model`'s weights."""
    c = model.config
    twin = nn.Transformer(
        c.d_model, c.n_heads, c.n_layers, c.n_layers, c.d_ff, dropout=0.0, activation="relu", batch_first=True
    )
    twin.encoder.norm = twin.decoder.norm = None  # the paper has no norm after the last layer
    ours = [*model.encoder, *model.decoder]
    theirs = [*twin.encoder.layers, *twin.decoder.layers]
    with torch.no_grad():
        for block, layer in zip(ours, theirs, strict=True):
            attentions = [(block.attention, layer.self_attn)]
            norms = [block.attention_norm, block.ff_norm]
            if hasattr(block, "cross"):
                attentions.append((block.cross, layer.multihead_attn))
                norms.insert(1, block.cross_norm)
            for attention, other in attentions:
                other.in_proj_weight.copy_(attention.qkv.weight)
                other.in_proj_bias.copy_(attention.qkv.bias)
                other.out_proj.load_state_dict(attention.out.state_dict())
            layer.linear1.load_state_dict(block.ff.expand.state_dict())
            layer.linear2.load_state_dict(block.ff.contract.state_dict())
            for i, norm in enumerate(norms, start=1):
                getattr(layer, f"norm{i}").load_state_dict(norm.state_dict())
    return twin


def twin_logits(twin: nn.Transformer, table: Tensor, source: Tensor, inputs: Tensor, causal: bool = True) -> Tensor:
    """Embed by the paper's formula, run `twin`, project by the same table."""
    c = table.size(1)

    def embed(ids: Tensor) -> Tensor:
        angle = [[p / 10000 ** (2 * (i // 2) / c) for i in range(c)] for p in range(ids.size(1))]
        positions = [[math.cos(a) if i % 2 else math.sin(a) for i, a in enumerate(row)] for row in angle]
        return table[ids.clamp_min(0)] * math.sqrt(c) + torch.tensor(positions, dtype=table.dtype)

    padded = source == PADDING
    future = torch.ones(inputs.size(1), inputs.size(1)).triu(1).bool()
    x = twin(
        embed(source),
        embed(inputs),
        tgt_mask=future if causal else None,
        src_key_padding_mask=padded,
        memory_key_padding_mask=padded,
    )
    return x @ table.T


def padded_batch(seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Sources of 3 to 9 tokens, inputs and targets of 2 to 7, padded."""
    generator = torch.Generator().manual_seed(seed)
    source = torch.randint(0, CONFIG.vocab_size, (5, 9), generator=generator)
    inputs, targets = (torch.randint(0, CONFIG.vocab_size, (5, 7), generator=generator) for _ in range(2))
    for row, (s, t) in enumerate([(9, 7), (3, 7), (6, 2), (4, 5), (9, 3)]):
        source[row, s:] = inputs[row, t:] = targets[row, t:] = PADDING
    return source, inputs, targets


@pytest.mark.parametrize("kernel", KERNELS)
def test_logits_and_gradients_are_those_of_pytorchs_transformer(kernel) -> None:
    model = random_model()
    twin, table = pytorch_twin(model), model.token_embedding.weight.detach().clone().requires_grad_()
    source, inputs, targets = padded_batch()
    ours, theirs = model(source, inputs, kernel), twin_logits(twin, table, source, inputs)
    there = targets != PADDING
    torch.testing.assert_close(ours[there], theirs[there], rtol=0, atol=1e-5)  # logits are of size 5
    assert ours[there].abs().max() > 5

    loss = model.loss(source, inputs, targets, kernel, smoothing=0.1)
    log_p = theirs[there].log_softmax(-1)
    expected = -(0.9 * log_p.gather(1, targets[there][:, None]).mean() + 0.1 * log_p.mean())
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    loss.backward()
    expected.backward()
    pairs = [(model.token_embedding.weight.grad, table.grad)]
    layers = [*twin.encoder.layers, *twin.decoder.layers]
    for block, layer in zip([*model.encoder, *model.decoder], layers, strict=True):
        pairs.append((block.attention.qkv.weight.grad, layer.self_attn.in_proj_weight.grad))
        pairs.append((block.ff.expand.weight.grad, layer.linear1.weight.grad))
        pairs.append((block.ff_norm.bias.grad, (layer.norm3 if hasattr(block, "cross") else layer.norm2).bias.grad))
        if hasattr(block, "cross"):
            pairs.append((block.cross.qkv.weight.grad, layer.multihead_attn.in_proj_weight.grad))
            pairs.append((block.cross.qkv.bias.grad, layer.multihead_attn.in_proj_bias.grad))
    for ours_grad, theirs_grad in pairs:
        torch.testing.assert_close(ours_grad, theirs_grad, rtol=1e-3, atol=1e-5)
        assert theirs_grad.abs().max() > 1e-4


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_in_float64_little_is_left_of_the_difference(kernel, seed: int) -> None:
    """The positions of ours are float32: to their precision there is none."""
    model = random_model(seed)
    twin = pytorch_twin(model).double()
    source, inputs, targets = padded_batch(seed)
    with torch.no_grad():
        theirs = twin_logits(twin, model.double().token_embedding.weight, source, inputs)[targets != PADDING]
        ours = model(source, inputs, kernel)[targets != PADDING]
    assert ours.dtype == theirs.dtype == torch.float64
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-6)


@pytest.mark.parametrize("kernel", KERNELS)
def test_padding_changes_nothing(kernel) -> None:
    model = random_model()
    source, inputs, _ = padded_batch()
    together = model(source, inputs, kernel)
    for row in range(len(source)):
        s, t = source[row][source[row] != PADDING], inputs[row][inputs[row] != PADDING]
        alone = model(s[None], t[None], kernel)[0]
        torch.testing.assert_close(together[row, : len(t)], alone, rtol=0, atol=1e-5)


def test_the_decoder_sees_no_future_and_the_encoder_does() -> None:
    model = random_model()
    source, inputs, _ = (part[:1] for part in padded_batch())
    before = model(source, inputs)
    changed = inputs.clone()
    changed[0, 4] = (changed[0, 4] + 1) % CONFIG.vocab_size
    after = model(source, changed)
    torch.testing.assert_close(after[:, :4], before[:, :4], rtol=0, atol=1e-5)
    assert (after[:, 4:] - before[:, 4:]).abs().amax() > 1e-3
    other = source.clone()
    other[0, -1] = (other[0, -1] + 1) % CONFIG.vocab_size
    assert (model.encode(other)[0][:, 0] - model.encode(source)[0][:, 0]).abs().amax() > 1e-3


def test_positions_are_those_of_the_paper() -> None:
    ours = positional_encoding(3, 9, 10).double().numpy()
    for row, position in enumerate(range(3, 9)):
        for i in range(5):
            angle = position / 10000 ** (2 * i / 10)
            np.testing.assert_allclose(ours[row, 2 * i : 2 * i + 2], [math.sin(angle), math.cos(angle)], atol=1e-6)
    assert positional_encoding(0, 4, 7).shape == (4, 7)


def test_dropout_is_a_function_of_its_seed_and_keeps_the_mean() -> None:
    model = random_model()
    source, inputs, targets = padded_batch()
    noise = [model.draw_noise(source, inputs, 0.25, seed) for seed in [(1, 2), (1, 2), (1, 3)]]
    losses = [model.loss(source, inputs, targets, noise=n).item() for n in noise]
    assert losses[0] == losses[1] != losses[2]
    assert noise[0].encoder.shape == (2 * 3 + 1, 5, 9, 32)
    assert noise[0].decoder.shape == (3 * 3 + 1, 5, 7, 32)
    assert noise[0].decoder.float().mean() == pytest.approx(0.75, abs=0.01)
    drop, _ = noise[0].drops()
    dropped = drop(torch.ones(5, 9, 32))
    assert dropped.unique().tolist() == pytest.approx([0, 4 / 3])
    assert not torch.equal(drop(torch.ones(5, 9, 32)), dropped)  # each sub-layer by its own
    assert model.draw_noise(source, inputs, 0.0, (1, 2)) is None


def test_every_sublayer_and_both_embeddings_drop() -> None:
    """With nothing kept but what one drawing lets through, the loss hangs on each of them."""
    model = random_model()
    source, inputs, targets = padded_batch()
    noise = model.draw_noise(source, inputs, 0.5, (0, 0))
    loss = model.loss(source, inputs, targets, noise=noise).item()
    for side in ("encoder", "decoder"):
        for i in range(len(getattr(noise, side))):
            kept = getattr(noise, side).clone()
            kept[i] = 1
            assert model.loss(source, inputs, targets, noise=noise._replace(**{side: kept})).item() != loss, (side, i)


def test_a_model_without_memory_takes_a_step() -> None:
    with torch.device("meta"):
        model = Transformer(CONFIG)
        source, inputs, targets = padded_batch_on_meta()
        loss = model.loss(source, inputs, targets, plain_attention, smoothing=0.1)
        loss.backward()
    assert loss.device.type == "meta"
    assert all(p.grad is not None and p.grad.device.type == "meta" for p in model.parameters())


def padded_batch_on_meta() -> list[Tensor]:
    return [torch.empty(5, n, dtype=torch.long, device="meta") for n in (9, 7, 7)]


def test_streams_begin_with_about_unit_variance_and_logits_too() -> None:
    torch.manual_seed(0)
    model = Transformer(TransformerConfig(vocab_size=500, context=24, n_layers=4, n_heads=4, d_model=64))
    ids = torch.randint(0, 500, (4, 20))
    tokens, _ = model.embed(ids)
    assert tokens.std().item() == pytest.approx(1, abs=0.1)
    assert model(ids, ids).std().item() == pytest.approx(1, abs=0.3)
    assert model.count_parameters() == sum(p.numel() for p in model.state_dict().values())


def test_too_long_a_sentence_is_refused() -> None:
    ids = torch.zeros(1, 25, dtype=torch.long)
    with pytest.raises(ValueError, match="25 tokens do not fit a context of 24"):
        random_model().encode(ids)
