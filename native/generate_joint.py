"""Writes joint_steps.c: the machine code of the joint kernel, whose idea is told in scan_joint.c.

Usage: python native/generate_joint.py [--check]

A step works on three units, a unit being the eight nonces of a group under one version, each in its stage:
  - rounds 4-63 of block 2, for unit s; the states go to memory, the midstate not yet added;
  - the schedule of the second hash, for unit s-1, from those states;
  - rounds 1-60 of the second hash, for unit s-2, with the schedule of the step before.
In one of two forms of the step, the schedule of block 2 for the next group is made as well.

All rounds are alike, then: chains of sha256rnds2, each fed by a load of two sums W+K from L1. About six chains run
side by side, one instruction of each in turn, and between them the vector instructions of the schedules are
strewn evenly: so the unit for sha256rnds2 is never without work, and everything else runs in its shadow.

What was measured on Zen 4, where sha256rnds2 can start once a cycle and takes four:
  - Vectors of 256 bits disturb the rounds less than half as many of 512, which hold a port for two cycles.
  - Two exclusive ors disturb less than one vpternlogd.
  - Both forms of the step together must fit into the cache of decoded instructions: hence eight nonces, not
    sixteen, and addresses that are short (rdi points into the middle of hm_joint, rsi and rdx move along).

Registers: xmm0 takes the sums, xmm1 to xmm12 the states of up to six chains, ymm13 to ymm31 the schedules. These
are written for any number of registers; `allocate` maps them to the real ones. rsi points to the schedule of
block 2 that is read, rdx and rcx to those of the second hash that are read and written, r8 to the head of unit
s, r9 to the midstate of unit s-1, rax to the schedule of block 2 that is written.
"""

# ruff: noqa: INP001  a script beside the C files, no package

import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

OUTPUT: Final = Path(__file__).resolve().parent / "joint_steps.c"

LANES: Final = 8
"""Nonces of a group: numbers in a vector register, and chains of each hash in a step."""
BYTES: Final = 4 * LANES
BATCHES: Final = (4, 6, 6)
"""How many chains run side by side, batch after batch. Others with four to seven were 0 to 8 % slower at K = 4."""
REGISTERS: Final = tuple(range(2 * max(BATCHES) + 1, 32))
"""For the schedules: what the chains leave."""
OLD_REGISTERS: Final = 16
"""Instructions that use the first sixteen alone are shorter."""
SHORT_LIFE: Final = 6
"""A value that lives no longer than so many instructions gets one of them, if it can."""
ROUND_PAIRS: Final = 30
"""sha256rnds2 of a chain. Of 64 rounds each, the first hash is spared four, the second one and three."""
BLOCK_WORDS: Final = 16


# ---- The two schedules -------------------------------------------------------------------------------------------


def sources(word: int) -> tuple[int, int, int, int]:
    """The words that a word is made of: plain, through s0, plain, through s1."""
    return word - 16, word - 15, word - 7, word - 2


@dataclass(frozen=True)
class Schedule:
    """One of the two: the first round that takes a word of it, which of the first words vary and which are zero."""

    name: str
    begin: int
    varying: frozenset[int]
    zero: frozenset[int]

    def varies(self, word: int) -> bool:
        """Whether the word depends on the nonce."""
        return word in self.varying or (word >= BLOCK_WORDS and any(map(self.varies, sources(word))))

    def has_constant(self, word: int) -> bool:
        """Whether the word has summands that do not vary; they are added up beforehand."""
        return any(not self.varies(source) and source not in self.zero for source in sources(word))

    def all_pairs(self) -> range:
        """First words of the pairs that the rounds take."""
        return range(self.begin, self.begin + 2 * ROUND_PAIRS, 2)

    def pairs(self) -> list[int]:
        """Those of them that vary."""
        return [word for word in self.all_pairs() if self.varies(word) or self.varies(word + 1)]


FIRST: Final = Schedule("first", 4, frozenset({3}), frozenset(range(5, 15)))
SECOND: Final = Schedule("second", 1, frozenset(range(8)), frozenset(range(9, 15)))


# ---- Layout of hm_joint and of the schedules; joint_steps.c asserts that the C side has the same -----------------


class Layout:
    """Offsets of fields that follow each other, each on a multiple of `align`."""

    def __init__(self, align: int, *fields: tuple[str, int]) -> None:
        self.offsets: dict[str, int] = {}
        end = 0
        for name, size in fields:
            self.offsets[name] = end
            end += -(-size // align) * align

    def __getitem__(self, name: str) -> int:
        return self.offsets[name]


# Short addresses reach 128 bytes to each side of rdi, those of vectors and broadcasts 32 and 4 times as far.
MIDDLE: Final = 512
JOINT: Final = Layout(
    32,
    ("k", 256),
    ("first_constants", 64),
    ("second_constants", 64),
    ("first_sums", 72),
    ("second_sums", 64),
    ("start", 32),
    ("tops", 8 * LANES),
    ("lanes", BYTES),
    ("swap", BYTES),
    ("nonce", 4),
    ("spilled", 8 * BYTES),
)
LAYOUTS: Final = {
    FIRST: Layout(64, ("word", BYTES), ("sums", 2 * BYTES * len(FIRST.pairs()))),
    SECOND: Layout(64, ("word", BYTES), ("sums", 2 * BYTES * len(SECOND.pairs())), ("states", 8 * BYTES)),
}
FIRST_CONSTANT: Final = {FIRST: 18, SECOND: 16}
"""The word to which the first of a schedule's constants belongs."""


def place_of_sums(schedule: Schedule, word: int, lane: int) -> int:
    """Where the sums of a word and the next lie for a lane: as unpacking two vectors leaves them."""
    row = LAYOUTS[schedule]["sums"] + 2 * BYTES * schedule.pairs().index(word)
    return row + (lane >> 1 & 1) * BYTES + (lane >> 2) * 16 + (lane & 1) * 8


def place_of_state(lane: int, half: int) -> int:
    """Where a chain puts half of its state: so that four loads and eight unpackings sort it by words."""
    return LAYOUTS[SECOND]["states"] + 4 * BYTES * half + (lane & 3) * BYTES + (lane >> 2) * 16


def joint(name: str, offset: int = 0) -> str:
    """Address of a field of hm_joint."""
    return f"[rdi{JOINT[name] + offset - MIDDLE:+}]"


# ---- Vector code, written for any number of registers ------------------------------------------------------------


@dataclass
class Operation:
    """One instruction. Registers are numbers, memory operands and immediates text."""

    name: str
    target: int | None
    operands: list[int | str]


@dataclass
class Vectors:
    """Vector instructions in the order they are written."""

    code: list[Operation] = field(default_factory=list)
    registers: int = 0

    def do(self, name: str, *operands: int | str) -> int:
        """An instruction with a new register as its result."""
        self.registers += 1
        self.code.append(Operation(name, self.registers, list(operands)))
        return self.registers

    def store(self, address: str, register: int) -> None:
        """A register into memory."""
        self.code.append(Operation("vmovdqa32", None, [f"ymmword ptr {address}", register]))

    def sigma(self, x: int, rotations: tuple[int, int], shift: int) -> int:
        """The functions s0 and s1 of the schedule."""
        one, other = (self.do("vprord", x, str(rotation)) for rotation in rotations)
        return self.do("vpxord", self.do("vpxord", one, other), self.do("vpsrld", x, str(shift)))

    def next_word(self, schedule: Schedule, words: dict[int, int], word: int) -> int:
        """A word of the schedule."""
        plain, zero, middle, one = sources(word)
        summands: list[int | str] = [words[source] for source in (plain, middle) if source in words]
        if zero in words:
            summands.append(self.sigma(words[zero], (7, 18), 3))
        if one in words:
            summands.append(self.sigma(words[one], (17, 19), 10))
        if schedule.has_constant(word):
            index = word - FIRST_CONSTANT[schedule]
            summands.append(f"dword ptr {joint(f'{schedule.name}_constants', 4 * index)}{{1to8}}")
        total = summands[0]
        for summand in summands[1:]:
            total = self.do("vpaddd", total, summand)
        assert isinstance(total, int)  # noqa: S101  a word that varies has a register among its summands, and that first
        return total

    def sum_with_k(self, schedule: Schedule, words: dict[int, int], word: int) -> int:
        """A word plus its round constant."""
        if word not in words:
            return self.do("vpbroadcastd", f"dword ptr {joint(f'{schedule.name}_sums', 4 * word)}")
        return self.do("vpaddd", words[word], f"dword ptr {joint('k', 4 * word)}{{1to8}}")

    def schedule(self, schedule: Schedule, words: dict[int, int], base: str) -> None:
        """All words, from those of the first sixteen that vary; their sums go to memory in pairs."""
        for pair in schedule.pairs():
            for word in (pair, pair + 1):
                if word >= BLOCK_WORDS:
                    words[word] = self.next_word(schedule, words, word)
            one, other = (self.sum_with_k(schedule, words, word) for word in (pair, pair + 1))
            place = place_of_sums(schedule, pair, 0)
            self.store(f"[{base}+{place}]", self.do("vpunpckldq", one, other))
            self.store(f"[{base}+{place + BYTES}]", self.do("vpunpckhdq", one, other))

    def first(self) -> None:
        """The schedule of block 2, from the number of the group's first nonce."""
        number = self.do("vpbroadcastd", f"dword ptr {joint('nonce')}")
        number = self.do("vpaddd", number, f"ymmword ptr {joint('lanes')}")
        nonce = self.do("vpshufb", number, f"ymmword ptr {joint('swap')}")
        self.store(f"[rax+{LAYOUTS[FIRST]['word']}]", nonce)
        self.schedule(FIRST, {3: nonce}, "rax")

    def second(self) -> None:
        """The schedule of the second hash, from the states of the first, to which the midstate is added here."""
        words: dict[int, int] = {}
        for half, names in enumerate(((5, 4, 1, 0), (7, 6, 3, 2))):
            rows = [f"ymmword ptr [rcx+{place_of_state(row, half)}]" for row in range(4)]
            even, odd = (self.do("vmovdqa32", rows[row]) for row in (0, 2))
            halves = [
                (self.do(unpack, even, rows[1]), self.do(unpack, odd, rows[3]))
                for unpack in ("vpunpckldq", "vpunpckhdq")
            ]
            for index, word in enumerate(names):
                unpack = ("vpunpcklqdq", "vpunpckhqdq")[index & 1]
                state = self.do(unpack, *halves[index >> 1])
                words[word] = self.do("vpaddd", state, f"dword ptr [r9+{4 * word}]{{1to8}}")
        self.store(f"[rcx+{LAYOUTS[SECOND]['word']}]", words[0])
        self.schedule(SECOND, words, "rcx")


class Allocator:
    """Gives values real registers; when none is free, the value that is used last waits in memory."""

    def __init__(self, code: list[Operation]) -> None:
        self._code = code
        self._uses: dict[int, list[int]] = {}
        for index, operation in enumerate(code):
            for value in self._inputs(operation):
                self._uses.setdefault(value, []).append(index)
        self._free = list(REGISTERS)
        self._held: dict[int, int] = {}
        self._spilled: dict[int, str] = {}
        self._slots = [f"ymmword ptr {joint('spilled', BYTES * slot)}" for slot in range(8)]

    def instructions(self) -> Iterator[str]:
        """The code with real registers, and with what moves values to memory and back."""
        for index, operation in enumerate(self._code):
            inputs = self._inputs(operation)
            for value in sorted(inputs & self._spilled.keys()):
                yield from self._make_room(inputs)
                slot = self._spilled.pop(value)
                yield f"vmovdqa32 ymm{self._hold(value, index)}, {slot}"
                self._slots.append(slot)
            operands = [
                self._held[operand] if isinstance(operand, int) else operand for operand in operation.operands
            ]
            for value in inputs:
                if self._uses[value][-1] == index:
                    self._free.append(self._held.pop(value))
                self._uses[value] = [use for use in self._uses[value] if use > index]
            if operation.target is not None:
                yield from self._make_room(set())
                operands.insert(0, self._hold(operation.target, index))
            yield self._written(operation.name, operands)

    @staticmethod
    def _inputs(operation: Operation) -> set[int]:
        return {operand for operand in operation.operands if isinstance(operand, int)}

    @staticmethod
    def _written(name: str, operands: list[int | str]) -> str:
        """The instruction as text, in its shorter form where there is one and the assembler does not see it itself."""
        if name == "vpxord" and all(
            isinstance(operand, int) and operand < OLD_REGISTERS for operand in operands
        ):
            name = "vpxor"
        texts = [f"ymm{operand}" if isinstance(operand, int) else operand for operand in operands]
        return f"{name} {', '.join(texts)}"

    def _hold(self, value: int, index: int) -> int:
        """A free register for a value that is made now."""
        short = self._uses[value][-1] - index <= SHORT_LIFE
        self._held[value] = (min if short else max)(self._free)
        self._free.remove(self._held[value])
        return self._held[value]

    def _make_room(self, keep: set[int]) -> Iterator[str]:
        if self._free:
            return
        victim = max(self._held.keys() - keep, key=lambda value: self._uses[value][0])
        self._spilled[victim] = self._slots.pop(0)
        yield f"vmovdqa32 {self._spilled[victim]}, ymm{self._held[victim]}"
        self._free.append(self._held.pop(victim))


# ---- Rounds ------------------------------------------------------------------------------------------------------


class Pointers:
    """Registers that move along the schedules, so that all addresses are short."""

    def __init__(self) -> None:
        self._moved = {"rsi": 0, "rdx": 0}

    def reach(self, base: str, place: int) -> tuple[list[str], str]:
        """What moves the register if it must move, and the address."""
        offset, move = place - self._moved[base], []
        if not -128 <= offset < 128:  # noqa: PLR2004  the reach of a signed byte
            step = place // 64 * 64 + 128 - self._moved[base]
            self._moved[base] += step
            offset -= step
            move = [f"add {base}, {step}"]
        return move, f"[{base}{offset:+}]"


@dataclass(frozen=True)
class Chain:
    """The sixty rounds of one hash in two registers, which change their roles with each instruction."""

    schedule: Schedule
    lane: int
    registers: tuple[int, int]
    pointers: Pointers

    @property
    def _base(self) -> str:
        return "rsi" if self.schedule is FIRST else "rdx"

    def begin(self) -> Iterator[str]:
        """The state before the chain's first round but for the last word, and that word added to A and E."""
        one, _ = self.registers
        for half, register in enumerate(self.registers):
            address = f"[r8+{16 * half}]" if self.schedule is FIRST else joint("start", 16 * half)
            yield f"vmovdqa xmm{register}, xmmword ptr {address}"
        move, address = self.pointers.reach(self._base, LAYOUTS[self.schedule]["word"] + 4 * self.lane)
        yield from move
        yield f"vpaddd xmm{one}{{k1}}, xmm{one}, dword ptr {address}{{1to4}}"

    def two_rounds(self, index: int) -> Iterator[str]:
        """One instruction and its sums."""
        word = self.schedule.all_pairs()[index]
        if word in self.schedule.pairs():
            place = place_of_sums(self.schedule, word, self.lane)
            move, address = self.pointers.reach(self._base, place)
            yield from move
        else:
            address = joint(f"{self.schedule.name}_sums", 4 * word)
        yield f"vmovq xmm0, qword ptr {address}"
        source, target = self.registers[:: -1 if index & 1 else 1]
        yield f"sha256rnds2 xmm{target}, xmm{source}"

    def end(self) -> Iterator[str]:
        """The state of the first hash; of the second the half of a register that holds E."""
        if self.schedule is FIRST:
            for half, register in enumerate(self.registers):
                # Where the schedule of the second hash is read now, this state is made into one in the next step.
                place = place_of_state(self.lane, half)
                move, address = self.pointers.reach("rdx", place)
                yield from move
                yield f"vmovdqa xmmword ptr {address}, xmm{register}"
        else:
            yield f"vmovq qword ptr {joint('tops', 8 * self.lane)}, xmm{self.registers[0]}"


def rounds() -> Iterator[list[str]]:
    """All chains of a step, in pieces of code that each hold one sha256rnds2."""
    waiting = [(schedule, lane) for schedule in (FIRST, SECOND) for lane in range(LANES)]
    pointers = Pointers()
    for size in BATCHES:
        batch = [Chain(*waiting.pop(0), (1 + 2 * slot, 2 + 2 * slot), pointers) for slot in range(size)]
        for index in range(ROUND_PAIRS):
            for chain in batch:
                begin = chain.begin() if index == 0 else ()
                end = chain.end() if index == ROUND_PAIRS - 1 else ()
                yield [*begin, *chain.two_rounds(index), *end]
    assert not waiting  # noqa: S101  the batches hold all chains


def step(*, scheduling: bool) -> Iterator[str]:
    """One form of the step."""
    vectors = Vectors()
    vectors.second()
    if scheduling:
        vectors.first()
        yield "mov rax, qword ptr [rsp+8]"
    strewn, pieces = list(Allocator(vectors.code).instructions()), list(rounds())
    yield "mov r10d, 10"  # bits 1 and 3: words E and A of a register
    yield "kmovw k1, r10d"
    yield f"add rdi, {MIDDLE}"
    for index, piece in enumerate(pieces):
        yield from piece
        yield from strewn[len(strewn) * index // len(pieces) : len(strewn) * (index + 1) // len(pieces)]
    yield "ret"


# ---- The file ----------------------------------------------------------------------------------------------------

HEADER: Final = """\
/* joint_steps.c: written by generate_joint.py, which explains it; do not edit. */
#include <stddef.h>

#include "joint.h"

#if HM_JOINT
#pragma GCC diagnostic ignored "-Woverlength-strings" /* gcc and clang know no limit */
"""


def static_asserts() -> Iterator[str]:
    """What the machine code takes for granted of the structs."""
    structs = {"hm_joint": JOINT, "hm_joint_first": LAYOUTS[FIRST], "hm_joint_second": LAYOUTS[SECOND]}
    for struct, layout in structs.items():
        for name, offset in layout.offsets.items():
            yield f'_Static_assert(offsetof({struct}, {name}) == {offset}, "{struct}.{name}");'


def function(symbol: str, code: Iterable[str], into_page: int) -> Iterator[str]:
    """A function as top-level assembly.

    Its place in a page is fixed, because the speed depends on it: at K = 4 to 8 by 5 %, some 250 cycles at each change
    from one form of the step to the other. Both together come near the limit of the cache of decoded instructions, which
    is the likely cause; no performance counters were at hand to prove it. The places are those that measured best.
    """
    place = (".balign 4096", *([f".skip {into_page}, 0x90"] if into_page else ()))
    head = (".text", *place, f".globl {symbol}", f".hidden {symbol}", f".type {symbol}, @function")
    yield "__asm__("
    yield '    ".intel_syntax noprefix\\n"'
    for line in (*head, f"{symbol}:", ".cfi_startproc", *code, ".cfi_endproc", f".size {symbol}, .-{symbol}"):
        yield f'    "{line}\\n"'
    yield '    ".att_syntax prefix\\n");'


def text() -> str:
    """The whole file."""
    lines = [
        *static_asserts(),
        *function("hm_joint_step", step(scheduling=False), 768),
        *function("hm_joint_step_scheduling", step(scheduling=True), 2176),
    ]
    return HEADER + "\n".join(lines) + "\n#endif\n"


if __name__ == "__main__":
    if sys.argv[1:] == ["--check"]:
        sys.exit(OUTPUT.read_text(encoding="utf-8") != text())
    OUTPUT.write_text(text(), encoding="utf-8")
