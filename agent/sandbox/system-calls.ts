/**
 * What namespaces do not keep in, by machine: calls that are refused, and those that give a file its mode, with the
 * place of flags and mode among their arguments. The numbers are the kernel's and never change.
 */
const machines: Readonly<Partial<Record<NodeJS.Architecture, Machine>>> = {
  x64: {
    audit: 0xc000003e,
    // keyctl, add_key and request_key: keys belong to the session of the worker. bpf, perf_event_open, userfaultfd.
    // ptrace, process_vm_readv, process_vm_writev, kcmp, pidfd_getfd.
    refused: [250, 248, 249, 321, 298, 323, 101, 310, 311, 312, 438],
    socket: 41,
    // chmod, fchmod, fchmodat, fchmodat2, creat, mknod, mknodat
    modes: [
      [90, 1],
      [91, 1],
      [268, 2],
      [452, 2],
      [85, 1],
      [133, 1],
      [259, 2],
    ],
    // open, openat
    opens: [
      [2, 1, 2],
      [257, 2, 3],
    ],
  },
  arm64: {
    audit: 0xc00000b7,
    refused: [219, 217, 218, 280, 241, 282, 117, 270, 271, 272, 438],
    socket: 198,
    modes: [
      [52, 1],
      [53, 2],
      [452, 2],
      [33, 2],
    ],
    opens: [[56, 2, 3]],
  },
};

interface Machine {
  audit: number;
  refused: readonly number[];
  socket: number;
  modes: readonly (readonly [call: number, mode: number])[];
  opens: readonly (readonly [call: number, flags: number, mode: number])[];
}

/** They would hide what they do from a filter: io_uring_setup, and openat2, which programs do without. */
const opaque = [425, 437];
/** Unix, IPv4, IPv6 and netlink. Others, vsock above all, lie outside of a network namespace or are not needed. */
const families = [1, 2, 10, 16];
const setsUser = 0o4000;
/** O_CREAT, and O_TMPFILE: a file without a name can be given one. */
const creates = 0o20000100;
const errors = { EPERM: 1, ENOSYS: 38, EAFNOSUPPORT: 97 };

/**
 * A filter of system calls for `bwrap --seccomp`, as seccomp(2) describes it. It keeps the agent from the worker's keys
 * in the kernel, from sockets that no network namespace holds, and from leaving a program in its folder that runs as the
 * worker's user whoever starts it; and its commands from the memory and the open files of the agent and of its relay. Null
 * for a machine whose numbers it does not know.
 */
export function systemCallFilter(arch: NodeJS.Architecture = process.arch): Buffer | null {
  const machine = machines[arch];
  if (!machine) return null;
  const { audit, refused, socket, modes, opens } = machine;
  const program = [
    ...[load(4), equal(audit, 1, 0), refuse('ENOSYS')],
    ...[load(0), atLeast(0x4000_0000, 0, 1), refuse('ENOSYS')],
    ...refused.flatMap((call) => [equal(call, 0, 1), refuse('EPERM')]),
    ...opaque.flatMap((call) => [equal(call, 0, 1), refuse('ENOSYS')]),
    ...[equal(socket, 0, families.length + 3), argument(0)],
    ...families.map((family, index) => equal(family, families.length - index, 0)),
    ...[refuse('EAFNOSUPPORT'), allow],
    ...modes.flatMap(([call, mode]) => [
      ...[equal(call, 0, 4), argument(mode), anyOf(setsUser, 0, 1), refuse('EPERM'), allow],
    ]),
    ...opens.flatMap(([call, flags, mode]) => [
      ...[equal(call, 0, 6), argument(flags), anyOf(creates, 0, 3)],
      ...[argument(mode), anyOf(setsUser, 0, 1), refuse('EPERM'), allow],
    ]),
    allow,
  ];
  const bytes = Buffer.alloc(8 * program.length);
  for (const [index, [code, yes, no, value]] of program.entries()) {
    bytes.writeUInt16LE(code, 8 * index);
    bytes.writeUInt8(yes, 8 * index + 2);
    bytes.writeUInt8(no, 8 * index + 3);
    bytes.writeUInt32LE(value, 8 * index + 4);
  }
  return bytes;
}

/** Instructions of the classic Berkeley Packet Filter; a jump counts those that it passes over. */
type Instruction = [code: number, yes: number, no: number, value: number];
const load = (offset: number): Instruction => [0x20, 0, 0, offset];
const equal = (value: number, yes: number, no: number): Instruction => [0x15, yes, no, value];
const atLeast = (value: number, yes: number, no: number): Instruction => [0x35, yes, no, value];
const anyOf = (bits: number, yes: number, no: number): Instruction => [0x45, yes, no, bits];
const allow: Instruction = [0x06, 0, 0, 0x7fff_0000];
const refuse = (error: keyof typeof errors): Instruction => [0x06, 0, 0, 0x0005_0000 | errors[error]];
/** The lower half of an argument. */
const argument = (index: number) => load(16 + 8 * index);
