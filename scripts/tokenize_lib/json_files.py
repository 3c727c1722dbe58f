"""Objects in files of JSON."""
import json
import os

from tokenize_lib.refused import DATA, Refused


def read_json(folder, name, needed=False):
    path = os.path.join(folder, name)
    try:
        with open(path, encoding="utf-8") as file:
            value = json.load(file)
    except FileNotFoundError:
        if needed:
            raise Refused(DATA, f"{path} is not there: MODEL is a Hugging Face folder with a fast tokenizer") from None
        return {}
    except (OSError, ValueError) as error:
        raise Refused(DATA, f"{path} cannot be read: {error}") from None
    if not isinstance(value, dict):
        raise Refused(DATA, f"{path} holds no JSON object")
    return value


def write_json(path, value):
    with open(path + ".tmp", "w", encoding="utf-8") as file:
        json.dump(value, file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    os.replace(path + ".tmp", path)
