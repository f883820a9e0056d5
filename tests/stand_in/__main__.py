# Copyright: (c) 2026, the holdfast.restic_r2 contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Start the stand-in: python -m tests.stand_in [--port 0] [--data DIR] [--account-id ID] [--api-token VALUE]."""

from __future__ import annotations

import argparse
import gc
import json
import secrets
import signal
import sys
from pathlib import Path
from typing import Any

from tests.stand_in.app import App
from tests.stand_in.server import Server
from tests.stand_in.settings import Settings
from tests.stand_in.state import State
from tests.stand_in.storage import Storage


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="tests.stand_in", description="Play Cloudflare R2 on a loopback port.")
    parser.add_argument("--host", default="127.0.0.1", help="0.0.0.0: other machines reach it too")
    parser.add_argument("--port", type=int, default=0, help="0: any that is free")
    parser.add_argument("--data", type=Path, help="folder in which everything survives a restart")
    parser.add_argument("--account-id", default=None)
    parser.add_argument("--api-token", default=None, help="value of the token that may do everything")
    return parser.parse_args()


def _state(arguments: argparse.Namespace) -> State:
    state = State(arguments.account_id or secrets.token_hex(16), Settings(), Storage(arguments.data))
    if not state.load():
        state.add_root_token(arguments.api_token)
        state.save()
    return state


def main() -> int:
    """Serve until a signal comes."""
    arguments = _arguments()
    state = _state(arguments)
    server = Server(arguments.host, arguments.port, App(state), state.now)

    def stop(_signal: int, _frame: Any) -> None:
        raise SystemExit(0)

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    root = next(token for token in state.tokens.values() if token.name == "root")
    ready = {
        "url": f"http://127.0.0.1:{server.server_address[1]}",
        "account_id": state.account_id,
        "api_token": root.value,
        "token_id": root.id,
    }
    # No request is to wait while Python looks through moto, some hundred thousand objects, or for the thread of another.
    gc.freeze()
    sys.setswitchinterval(0.001)
    print(json.dumps(ready), flush=True)
    server.serve_forever(poll_interval=0.2)
    return 0


if __name__ == "__main__":
    sys.exit(main())
