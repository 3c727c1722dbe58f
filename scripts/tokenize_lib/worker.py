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
    """What a field holds: that key, or for a.b the key b within a, as pack takes it; None where both are there."""
    inner, own = value, value.get(field) if "." in field and isinstance(value, dict) else None
    for name in field.split("."):
        inner = inner.get(name) if isinstance(inner, dict) else None
    return inner if own is None else own if inner is None else None


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


def column_of(schema, field):
    """The column of a field, and what of the field is within it."""
    top, _, rest = field.partition(".")
    named = [name for name in schema.names if name in (top, field)]
    if len(named) > 1:
        raise ValueError(f"has {len(named)} columns that {field} names ({', '.join(named)}): rename what is not meant")
    if not named:
        raise ValueError(f"has no column {top}, but {', '.join(schema.names)}")
    rest = rest if named[0] != field else ""
    kind = schema.field(named[0]).type
    kind = getattr(kind, "value_type", kind) if "dictionary" in str(kind) else kind
    if str(kind).partition("<")[0] not in ("string", "large_string", "string_view", "null", "struct" if rest else ""):
        raise ValueError(f"has the type {kind} in its column {named[0]}, and text is wanted: cast it to string")
    return named[0], rest


def check_end(path, source):
    """A stream of Arrow's may be cut between two batches, or have another behind it, and reads as a whole one."""
    if source.tell() != source.size():
        raise ValueError(f"has {source.size() - source.tell()} bytes behind the end of its Arrow stream: name each "
                         "stream as a file of its own")
    with open(path, "rb") as file:
        file.seek(-8, os.SEEK_END)
        if file.read() != b"\xff\xff\xff\xff\0\0\0\0":
            raise ValueError("lacks the mark of an Arrow stream's end: it is cut, or its writer was stopped before it "
                             "closed the file; make it again")


def texts_of_table(kind, path, group, field):
    import pyarrow
    import pyarrow.parquet
    if kind == "parquet":
        file = pyarrow.parquet.ParquetFile(path)
        column, rest = column_of(file.schema_arrow, field)
        batches = file.iter_batches(1024, row_groups=[group], columns=[column])
    elif kind == "arrow":
        reader = pyarrow.ipc.open_file(pyarrow.memory_map(path))
        column, rest = column_of(reader.schema, field)
        batches = (reader.get_batch(i) for i in range(reader.num_record_batches))
    else:
        source = pyarrow.memory_map(path)
        batches = pyarrow.ipc.open_stream(source)
        column, rest = column_of(batches.schema, field)
    for batch in batches:
        for value in batch.column(batch.schema.names.index(column)).to_pylist():
            text = field_of(value, rest) if rest else value
            yield text if isinstance(text, str) else None
    if kind == "stream":
        check_end(path, source)


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
