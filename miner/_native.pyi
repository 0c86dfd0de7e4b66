# Types of the compiled core; native/hashmill.h says what each function does.

from typing import Any

from cffi import FFI

class _Lib:
    HM_MAX_VERSIONS: int
    HM_MAX_BRANCH: int
    HM_OK: int
    HM_INVALID: int
    HM_UNSUPPORTED: int
    HM_FAULT: int
    HM_FULL: int
    HM_MOVED_SLOTS: int
    HM_BOARD_JOBS: int
    HM_MAX_EXTRANONCE: int
    HM_ENDED_OTHER: int
    HM_ENDED_SEEN: int
    HM_ENDED_RECORDS: int
    def hm_sha256d(self, digest: Any, data: Any, length: int, /) -> None: ...
    def hm_kernel_count(self) -> int: ...
    def hm_kernel_name(self, kernel: int, /) -> Any: ...
    def hm_kernel_lanes(self, kernel: int, /) -> int: ...
    def hm_kernel_supported(self, kernel: int, /) -> int: ...
    def hm_kernel_self_test(self, kernel: int, /) -> int: ...
    def hm_kernel_select(self, kernel: int, /) -> int: ...
    def hm_kernel_selected(self) -> int: ...
    def hm_job_init(self, job: Any, header: Any, target: Any, versions: Any, count: int, /) -> int: ...
    def hm_scan(
        self, hits: Any, capacity: int, scanned: Any, job: Any, first: int, count: int, stop: Any, /
    ) -> int: ...
    def hm_share_job_init(
        self,
        job: Any,
        coinbase1: Any,
        coinbase1_length: int,
        coinbase2: Any,
        coinbase2_length: int,
        payout_offset: int,
        payout_length: int,
        branch: Any,
        branch_length: int,
        prev_hash: Any,
        bits: int,
        /,
    ) -> int: ...
    def hm_share_header(
        self,
        header: Any,
        digest: Any,
        job: Any,
        extranonce1: Any,
        extranonce1_length: int,
        extranonce2: Any,
        extranonce2_length: int,
        payout: Any,
        payout_length: int,
        ntime: int,
        nonce: int,
        version: int,
        /,
    ) -> None: ...
    def hm_seen_move(self, seen: Any, slots: Any, bits: int, room: int, /) -> int: ...
    def hm_seen_has(self, seen: Any, digest: Any, /) -> int: ...
    def hm_seen_add(self, seen: Any, digest: Any, /) -> int: ...
    def hm_seen_add_records(self, seen: Any, records: Any, count: int, tip: int, /) -> int: ...
    def hm_take(self, taker: Any, data: Any, length: int, start: int, now: float, /) -> int: ...
    def hm_take_chunk(self, taker: Any, data: Any, length: int, now: float, /) -> int: ...
    def hm_send(self, sockets: Any, lengths: Any, data: Any, count: int, sent: Any, /) -> int: ...
    def hm_taker_set_level(
        self, taker: Any, number: int, from_serial: int, difficulty: float, target: Any, /
    ) -> int: ...
    def hm_calibrate(self, adds: int, /) -> int: ...

ffi: FFI
lib: _Lib
