"""The packaged GGUF becomes a model directory that answers in its own chat format."""

from pathlib import Path

import pytest

from reconfigure_daemon.engine_host.small_model import prepare_small_model


@pytest.mark.engine
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")  # of transformers' own making
def test_the_small_model_answers(tmp_path: Path) -> None:
    """Loaded as any other model, it ends its turn by itself and knows the capital of France."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    directory = prepare_small_model(tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(directory)
    model = AutoModelForCausalLM.from_pretrained(directory)
    question = [{"role": "user", "content": "What is the capital of France?"}]
    prompt = tokenizer.apply_chat_template(question, add_generation_prompt=True, return_tensors="pt", return_dict=True)
    answer = model.generate(**prompt, max_new_tokens=30, do_sample=False)[0, prompt["input_ids"].shape[1] :]
    assert tokenizer.decode(answer) == "The capital of France is Paris.<|im_end|>"
    assert [path.name for path in tmp_path.iterdir()] == [directory.name]
