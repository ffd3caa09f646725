"""A resumed request in the V1 model runner: its output counts as output, its random generator stands where it stood.

The V2 runner needs none of this: it takes prompt and output apart by itself and draws by position.
"""

from __future__ import annotations

from typing import Any

import torch
from vllm.v1.worker.gpu_input_batch import InputBatch

from reconfigure_daemon.engine_host.resumption import generated_tokens


class PrefillGenerator(torch.Generator):
    """A CPU generator that can take back what a chunk of prefill drew.

    vLLM samples after each chunk and rewinds the generator by its CUDA offset, which a CPU generator refuses: the
    core dies (seen in 0.32). A prefill draws nothing that counts, so rewinding is going back to where it began.
    """

    def begin_prefill(self) -> None:
        """Remember the state to go back to."""
        self._before_prefill = self.get_state()

    def get_offset(self) -> int:
        """Any number that vLLM may subtract a draw from."""
        return 0

    def set_offset(self, offset: int) -> None:  # vLLM's signature
        """Take back the draws of this prefill."""
        self.set_state(self._before_prefill)


def restore() -> None:
    """Teach vLLM's input batch about resumed requests; harmless to call twice."""
    original = InputBatch.add_request
    if getattr(original, "resumes", False):
        return

    def add_request(batch: InputBatch, request: Any) -> Any:
        generated = generated_tokens(request.sampling_params)
        begins = bool(generated) and not request.output_token_ids
        if begins:
            request.output_token_ids.extend(generated)
        if request.generator is not None:
            request.generator = _positioned(request.generator, len(generated) if begins else 0, batch.vocab_size)
        return original(batch, request)

    add_request.resumes = True  # type: ignore[attr-defined]  # a mark on a function
    InputBatch.add_request = add_request


def _positioned(generator: torch.Generator, draws: int, vocabulary: int) -> torch.Generator:
    """The generator after as many draws as the request has tokens, ready for the prefill that follows."""
    if generator.device.type != "cpu":
        noise = torch.empty(vocabulary, dtype=torch.float32, device=generator.device)
        for _ in range(draws):
            noise.exponential_(generator=generator)  # V1 on CUDA: one number for each entry of the vocabulary
        return generator
    if not isinstance(generator, PrefillGenerator):
        generator = _copy(generator)
    for _ in range(draws):
        torch.randint(0, 2**31, (1,), generator=generator, dtype=torch.long)  # V1 on CPU: one seed for each token
    generator.begin_prefill()
    return generator


def _copy(generator: torch.Generator) -> PrefillGenerator:
    copy = PrefillGenerator(device="cpu")
    copy.set_state(generator.get_state())
    return copy
