"""Reading the publishers' formats."""

import gzip
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconfigure_daemon.load_generation.trace import TraceInvalid, TraceRequest
from reconfigure_daemon.load_generation.trace_reader import FAULTS_TOLD, TraceReader

SAMPLES = {
    "azure": (
        "TIMESTAMP,ContextTokens,GeneratedTokens\r\n"
        "2023-11-16 18:15:46.6805900,374,44\r\n"
        "2023-11-16 18:15:50.9951690,396,109\r\n",
        [TraceRequest(0.0, 374, 44), TraceRequest(pytest.approx(4.314579), 396, 109)],
    ),
    "mooncake": (
        '{"timestamp": 500, "input_length": 600, "output_length": 5, "hash_ids": [0, 1]}\n'
        '{"timestamp": 1750, "input_length": 500, "output_length": 6, "hash_ids": [0]}\n',
        [TraceRequest(0.0, 600, 5, (0, 1)), TraceRequest(1.25, 500, 6, (0,))],
    ),
    "servegen": (
        "arrival_s,prompt_tokens,output_tokens\n0.000,44,1\n0.240,46,88\n",
        [TraceRequest(0.0, 44, 1), TraceRequest(0.24, 46, 88)],
    ),
    "burstgpt": (
        "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type\n"
        "5,ChatGPT,472,18,490,Conversation log\n"
        "45,GPT-4,1087,0,1087,API log\n",
        [TraceRequest(0.0, 472, 18), TraceRequest(40.0, 1087, 0)],
    ),
}


def written(path: Path, text: str) -> Path:
    path.write_bytes(text.encode())
    return path


@pytest.mark.parametrize("name", SAMPLES)
@pytest.mark.parametrize("compressed", [False, True])
def test_each_format_is_recognised_by_its_first_line(tmp_path: Path, name: str, compressed: bool):
    """A format is told by its content, plain or gzipped, whatever the file is called."""
    text, expected = SAMPLES[name]
    path = tmp_path / "trace"
    path.write_bytes(gzip.compress(text.encode()) if compressed else text.encode())
    reader = TraceReader(path)
    assert (reader.format.name, list(reader)) == (name, expected)


@pytest.mark.parametrize(
    ("file", "format_name", "requests", "span_s"),
    [
        ("azure_2023_conv.csv.gz", "azure", 19_366, 3501.72),
        ("azure_2023_code.csv.gz", "azure", 8_819, 3435.95),
        ("mooncake_conversation.jsonl.gz", "mooncake", 12_031, 3537.0),
        ("servegen_m-small_day.csv.gz", "servegen", 331_042, 86_400.0),
    ],
)
def test_published_files_read_whole(published_trace, file: str, format_name: str, requests: int, span_s: float):
    """Every line of the publishers' own files is read, and their last arrival is where it should be."""
    reader = TraceReader(published_trace(file))
    read = list(reader)
    assert (reader.format.name, len(read), reader.bad_lines) == (format_name, requests, 0)
    assert read[-1].arrival_s == pytest.approx(span_s, abs=0.01)


def test_azure_reads_the_same_with_a_time_zone(tmp_path: Path):
    """The 2024 Azure traces write a time zone; arrivals are the same as without."""
    text = "TIMESTAMP,ContextTokens,GeneratedTokens\n2024-05-10 00:00:00.009930+00:00,1,2\n2024-05-10 00:00:01.5,3,4\n"
    requests = list(TraceReader(written(tmp_path / "t", text)))
    assert [request.arrival_s for request in requests] == [0.0, pytest.approx(1.49007)]


def test_columns_added_by_the_publisher_are_passed_over(tmp_path: Path):
    """BurstGPT's later releases add columns; the known ones are found by name."""
    text = (
        "Timestamp,Session ID,Elapsed time,Model,Request tokens,Response tokens,Total tokens,Log Type\n"
        "1.5,7,3,ChatGPT,10,20,30,API log\n"
    )
    assert list(TraceReader(written(tmp_path / "t", text))) == [TraceRequest(0.0, 10, 20)]


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("x,1,2", "found arrival_s 'x', expected a number of seconds"),
        ("nan,1,2", "found arrival_s 'nan', expected a number of seconds"),
        ("2,many,2", "found prompt_tokens 'many', expected a whole number from 0 to 10000000"),
        ("2,-1,2", "found prompt_tokens '-1', expected"),
        ("2,1,99999999999", "found output_tokens '99999999999', expected"),
        ("2,1", "found 2 fields, expected 3"),
        ("0.5,1,2", "found an arrival 0.5 s before that of an earlier line, expected lines sorted by arrival"),
        ("\ufffd\x00\x01", "found 1 fields, expected 3"),
    ],
)
def test_a_bad_line_is_told_with_its_number(tmp_path: Path, line: str, found: str):
    """A fault names the file, the line, what was found and what is expected, and the way to go on."""
    path = written(tmp_path / "t.csv", f"arrival_s,prompt_tokens,output_tokens\n0,1,1\n1,1,1\n\n{line}\n3,1,1\n")
    reader = TraceReader(path)
    list(reader)
    with pytest.raises(TraceInvalid) as raised:
        reader.check()
    assert raised.value.faults[0].startswith(f"{path}:5: {found}")
    assert "--skip-bad" in str(raised.value)


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("{", "found text that is no JSON"),
        ("[" * 100_000, "found text that is no JSON"),
        ("[]", "found JSON that is no object"),
        ('{"input_length": 1, "output_length": 1, "hash_ids": []}', "found timestamp 'None'"),
        ('{"timestamp": 1e400, "input_length": 1, "output_length": 1, "hash_ids": []}', "found timestamp 'inf'"),
        ('{"timestamp": 1, "input_length": true, "output_length": 1, "hash_ids": []}', "found input_length True"),
        ('{"timestamp": 1, "input_length": 1, "output_length": 1, "hash_ids": ["a"]}', "found hash_ids ['a']"),
        (
            '{"timestamp": 1, "input_length": 64, "output_length": 1, "hash_ids": [1, 2, 3, 4]}',
            "found 4 hash_ids for 64 tokens, expected 1: one for every 512 tokens",
        ),
    ],
)
def test_a_bad_mooncake_line_is_told(tmp_path: Path, line: str, found: str):
    """JSON that is broken, of another shape or with blocks of another size is a bad line, not a crash."""
    good = '{"timestamp": 0, "input_length": 1, "output_length": 1, "hash_ids": [0]}'
    reader = TraceReader(written(tmp_path / "t.jsonl", f"{good}\n{line}\n"), skip_bad=True)
    assert (len(list(reader)), reader.bad_lines) == (1, 1)
    assert f"t.jsonl:2: {found}" in reader.faults[0]


def test_skip_bad_goes_on_and_counts(tmp_path: Path):
    """With skip_bad, bad lines are left out and counted, however many, and the good ones stay."""
    bad = "oops\n" * (FAULTS_TOLD + 5)
    path = written(tmp_path / "t", f"arrival_s,prompt_tokens,output_tokens\n0,1,1\n{bad}9,2,2\n")
    reader = TraceReader(path, skip_bad=True)
    assert list(reader) == [TraceRequest(0.0, 1, 1), TraceRequest(9.0, 2, 2)]
    reader.check()
    assert (reader.bad_lines, len(reader.faults)) == (FAULTS_TOLD + 5, FAULTS_TOLD)


def test_reading_ends_at_the_tenth_fault(tmp_path: Path):
    """A file that is of another kind below its header is given up after ten faults."""
    path = written(tmp_path / "t", "arrival_s,prompt_tokens,output_tokens\n" + "oops\n" * 1000)
    with pytest.raises(TraceInvalid) as raised:
        list(TraceReader(path))
    assert len(raised.value.faults) == FAULTS_TOLD + 1


@pytest.mark.parametrize("text", ["", "a,b,c\n1,2,3\n", '{"prompt": "hello"}\n'])
def test_an_unknown_format_is_refused_with_the_known_ones(tmp_path: Path, text: str):
    """A first line of no known format is answered with what was found and every format that can be read."""
    with pytest.raises(TraceInvalid, match=r"(?s):1: found .*azure.*mooncake.*servegen.*burstgpt"):
        TraceReader(written(tmp_path / "t", text))


def test_a_cut_gzip_file_is_told(tmp_path: Path):
    """A gzip file that ends too early is an error with the file's name, not a short trace."""
    text = "arrival_s,prompt_tokens,output_tokens\n" + "".join(f"{i},{i * 7919 % 997},3\n" for i in range(20_000))
    path = tmp_path / "t.gz"
    path.write_bytes(gzip.compress(text.encode())[:-2000])
    with pytest.raises(TraceInvalid, match="damaged gzip"):
        list(TraceReader(path))


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path):
    """A folder in place of a file is an error with its name."""
    with pytest.raises(TraceInvalid, match="cannot be read"):
        TraceReader(tmp_path)


@given(st.binary(max_size=300))
def test_no_content_crashes_the_reader(content: bytes):
    """Whatever follows a header, reading ends with requests in order and faults, never with another error."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "t"
        path.write_bytes(b"arrival_s,prompt_tokens,output_tokens\n" + content)
        reader = TraceReader(path, skip_bad=True)
        arrivals = [request.arrival_s for request in reader]
    assert arrivals == sorted(arrivals)
