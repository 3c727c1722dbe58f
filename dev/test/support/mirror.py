#!/usr/bin/env python3
"""A web server for tests: python3 mirror.py FOLDER LOG, prints its port.

It serves FOLDER on 127.0.0.1 and writes a line "METHOD PATH START" a request to LOG. Byte ranges "bytes=N-" are served where
FOLDER/ranges exists. After as many bytes as FOLDER/cut says, where that exists, it cuts a shard's transfer short.
"""
import http.server
import os
import re
import sys


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        root, log = sys.argv[1:3]
        path = os.path.join(root, self.path.lstrip("/"))
        match = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        start = int(match.group(1)) if match and os.path.exists(os.path.join(root, "ranges")) else 0
        with open(log, "a") as file:
            file.write(f"GET {self.path} {start}\n")
        if not os.path.isfile(path):
            self.send_error(404)
            return
        with open(path, "rb") as file:
            data = file.read()
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        self.send_header("Content-Length", str(len(data) - start))
        self.end_headers()
        data = data[start:]
        cut = os.path.join(root, "cut")
        if os.path.exists(cut) and "/resolve/" in self.path:
            with open(cut) as file:
                data = data[:int(file.read())]
        self.wfile.write(data)

    def log_message(self, *arguments):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print(server.server_port, flush=True)
server.serve_forever()
