"""What a worker does: texts of a piece, and their ids."""
import array
import json
import os
import signal

from tokenize_lib.inputs import open_plain
from tokenize_lib.model import load_tokenizer

worker = {}


def begin_worker(model):
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the program ends its workers
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    worker.update(model, library=load_tokenizer(model["tokenizer"], model["special_as_text"]))


def field_of(value, field):
    for name in field.split("."):
        value = value.get(name) if isinstance(value, dict) else None
    return value


def texts_of_lines(block, field):
    """Texts of JSON lines, None for a line that has none."""
    for line in block.lstrip(b"\xef\xbb\xbf").split(b"\n"):
        if not line.strip():
            continue
        try:
            text = field_of(json.loads(line), field)
        except (ValueError, RecursionError):
            text = None
        yield text if isinstance(text, str) else None


def texts_of_table(kind, path, group, field):
    import pyarrow
    import pyarrow.parquet
    if kind == "parquet":
        file = pyarrow.parquet.ParquetFile(path)
        column = [field.split(".")[0]]
        column = column if column[0] in file.schema_arrow.names else None
        batches = file.iter_batches(1024, row_groups=[group], columns=column)
    elif kind == "arrow":
        reader = pyarrow.ipc.open_file(pyarrow.memory_map(path))
        batches = (reader.get_batch(i) for i in range(reader.num_record_batches))
    else:
        batches = pyarrow.ipc.open_stream(pyarrow.memory_map(path))
    top, _, rest = field.partition(".")
    for batch in batches:
        if top not in batch.schema.names:
            raise ValueError(f"has no column {top}, but {', '.join(batch.schema.names)}")
        for value in batch.column(batch.schema.names.index(top)).to_pylist():
            text = field_of(value, rest) if rest else value
            yield text if isinstance(text, str) else None


def text_of_file(unit):
    with open_plain(unit[2], unit[1]) as file:
        text = file.read()
    if b"\0" in text:
        raise ValueError("has zero bytes, and is no text")
    try:
        return text.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"is not UTF-8 at byte {error.start}: iconv -f ENCODING -t UTF-8 makes it so") from None


def whole(text):
    """Half of a surrogate pair, which JSON can hold, is no character."""
    try:
        text.encode()
        return text
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def encode(texts):
    """Ids of documents, marks included, as pack reads them."""
    begin, end = [] if worker["bos"] is None else [worker["bos"]], [worker["eos"]]
    ids = array.array("H" if worker["width"] == 2 else "I")
    for encoding in worker["library"].encode_batch(texts, add_special_tokens=False):
        if encoding.ids and max(encoding.ids) >= worker["vocab"]:
            raise ValueError(f"gives the id {max(encoding.ids)}, and the model's vocab_size is {worker['vocab']}")
        ids.extend(begin + encoding.ids + end)
    return ids.tobytes()


def work_on(task, field):
    """(ids, documents, bytes of text, empty documents, malformed ones), or the message of what is wrong."""
    kind, unit, block = task
    pieces, counts, batch, size = [], [0, 0, 0, 0], [], 0
    try:
        texts = (texts_of_lines(block, field) if kind == "lines" else [text_of_file(unit)] if kind == "text"
                 else texts_of_table(kind, unit[2], unit[3], field))
        for text in texts:
            if text is None or not text.strip():
                counts[3 if text is None else 2] += 1
                continue
            batch.append(whole(text))
            counts[0] += 1
            counts[1] += len(batch[-1].encode())
            size += len(text)
            if size > 1 << 20:
                pieces.append(encode(batch))
                batch, size = [], 0
        return b"".join(pieces + [encode(batch)]), counts
    except Exception as error:  # of three libraries
        return f"input {unit[2]}: {error}", None
