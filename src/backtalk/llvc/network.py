"""LLVC in torch: for training, on whole recordings, and in steps, as the ONNX graph computes it.

Source: arXiv 2311.00873 and its ancestor Waveformer, arXiv 2211.02250.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from backtalk.llvc.config import KERNEL, LABEL_WIDTH, LlvcConfig, histories
from backtalk.llvc.decoder import ChunkedDecoder
from backtalk.llvc.past import Past, RememberedPast, SilentPast
from backtalk.llvc.prenet import PreNet
from backtalk.nn.dilated_conv import DilatedDepthwiseConv1d
from backtalk.nn.history import History
from backtalk.nn.norm import LayerNorm


@dataclass(slots=True)
class LlvcState:
    """What the network remembers of each slot, by name."""

    histories: dict[str, History]


class LlvcNetwork(nn.Module):
    """Waveform to waveform, 16 samples per frame.

    `step` gives its output one frame late, so that whole chunks come out as whole chunks go in:
    it is `forward` on the same sound after a frame of silence.
    """

    def __init__(self, config: LlvcConfig) -> None:
        super().__init__()
        self.config = config
        width, hop = config.width, config.hop
        self.prenet = PreNet(config.prenet_blocks) if config.prenet_blocks else None
        self.analysis = nn.Linear(3 * hop, width, bias=False)
        self.label = LabelEmbedding(width)
        self.encoder = nn.ModuleList(
            EncoderLayer(width, 2**layer) for layer in range(config.encoder_layers)
        )
        self.to_memory = ManyToOne(width, config.decoder_width)
        self.to_target = ManyToOne(width, config.decoder_width)
        self.decoder = ChunkedDecoder(config)
        self.from_decoder = OneToMany(config.decoder_width, width)
        self.synthesis = nn.Linear(width, (config.overlap_frames + 1) * hop, bias=False)

    def forward(self, pcm: Tensor) -> Tensor:
        """Whole recordings, differentiable.

        Args:
            pcm: [B, T], T a multiple of the hop.
        Returns:
            [B, T], not delayed.
        """
        hop = self.config.hop
        heard = F.pad(pcm, (hop, hop))
        if self.prenet is not None:
            heard = self.prenet(heard)
        lengths = {history.name: history.length for history in histories(self.config)}
        return self._convert(SilentPast(lengths), heard)

    def set_chunk(self, frames: int) -> None:
        """Work in chunks of another size, with the same weights; streams have to begin anew."""
        self.config = replace(self.config, chunk_frames=frames)
        self.decoder.set_chunk(self.config)

    def alloc(self, slots: int) -> LlvcState:
        """State of `slots` streams that have not begun."""
        like = self.analysis.weight
        found = {}
        for history in histories(self.config):
            fresh = like.new_zeros(history.length, history.width)
            if history.name == "input" and self.prenet is not None:
                with torch.no_grad():
                    fresh = self.prenet(fresh.T).T
            found[history.name] = History.of(slots, fresh.detach())
        return LlvcState(found)

    def reset(self, state: LlvcState, mask: Tensor) -> None:
        """Begin anew the slots where `mask` (bool [slots]) is True."""
        for history in state.histories.values():
            history.reset(mask)

    def step(self, state: LlvcState, pcm: Tensor, active: Tensor) -> Tensor:
        """The next samples of every slot.

        Args:
            pcm: [slots, T], T a multiple of the chunk size.
            active: bool [slots]; the state of other slots stays as it is.
        Returns:
            [slots, T], a hop late.
        """
        past = RememberedPast(state.histories, active)
        heard = pcm
        if self.prenet is not None:
            heard = self.prenet.continued(past.join("heard", pcm[..., None])[..., 0])
        return self._convert(past, past.join("input", heard[..., None])[..., 0])

    def _convert(self, past: Past, heard: Tensor) -> Tensor:
        """[B, T + 2 hop] to [B, T]."""
        hop = self.config.hop
        latent = F.relu(self.analysis(heard.unfold(1, 3 * hop, hop)))
        frames = latent
        for i, layer in enumerate(self.encoder):
            frames = frames + layer(past.join(f"encoder.{i}", frames))
        labelled = self.label() * frames
        memory, target = F.relu(self.to_memory(frames)), F.relu(self.to_target(labelled))
        mask = labelled + F.relu(self.from_decoder(self.decoder(past, target, memory)))
        return torch.tanh(self._overlap(past.join("output", self.synthesis(latent * mask))))

    def _overlap(self, reached: Tensor) -> Tensor:
        """Sum what reaches each sample: [B, overlap + T, (overlap + 1) * hop] to [B, T * hop]."""
        hop, overlap = self.config.hop, self.config.overlap_frames
        length = reached.shape[1] - overlap
        total = reached[:, overlap:, :hop]
        for age in range(1, overlap + 1):
            begin = overlap - age
            total = total + reached[:, begin : begin + length, age * hop : (age + 1) * hop]
        return total.flatten(1)


class EncoderLayer(nn.Module):
    """A dilated convolution per feature, then a mixture of all features; norm and ReLU after each.

    Without padding: [B, reach + T, width] to [B, T, width].
    """

    def __init__(self, width: int, dilation: int) -> None:
        super().__init__()
        self.depthwise = DilatedDepthwiseConv1d(width, KERNEL, dilation)
        self.depthwise_norm = LayerNorm(width)
        self.pointwise = nn.Linear(width, width)
        self.pointwise_norm = LayerNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        """[B, reach + T, width] to [B, T, width]."""
        y = F.relu(self.depthwise_norm(self.depthwise(x)))
        return F.relu(self.pointwise_norm(self.pointwise(y)))


class LabelEmbedding(nn.Module):
    """The vector of the one label there is; a constant once trained."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Linear(1, LABEL_WIDTH)
        self.first_norm = LayerNorm(LABEL_WIDTH)
        self.second = nn.Linear(LABEL_WIDTH, width)
        self.second_norm = LayerNorm(width)

    def forward(self) -> Tensor:
        """[width]."""
        inner = F.relu(self.first_norm(self.first(self.first.weight.new_zeros(1))))
        return F.relu(self.second_norm(self.second(inner)))


class ManyToOne(nn.Module):
    """Neighbouring features to one."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(outputs, inputs // outputs))
        self.bias = nn.Parameter(torch.zeros(outputs))

    def forward(self, x: Tensor) -> Tensor:
        """[..., inputs] to [..., outputs]."""
        return (torch.unflatten(x, -1, self.weight.shape) * self.weight).sum(-1) + self.bias


class OneToMany(nn.Module):
    """One feature to several neighbouring ones."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(outputs))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.repeats = outputs // inputs

    def forward(self, x: Tensor) -> Tensor:
        """[..., inputs] to [..., outputs]."""
        return x.repeat_interleave(self.repeats, dim=-1) * self.weight + self.bias
