/** A seccomp profile in the form of Docker, as far as ours goes. */
export interface SeccompProfile {
  defaultAction: string;
  architectures: string[];
  syscalls: {
    comment?: string;
    names: string[];
    action: string;
    errnoRet: number;
    args?: { index: number; value: number; op: 'SCMP_CMP_EQ' | 'any bit' }[];
  }[];
}

/** Numbers of system calls on x64. Names that the profile has for other machines are left out. */
export const x64: Readonly<Record<string, number>> = {
  _sysctl: 156,
  acct: 163,
  add_key: 248,
  bpf: 321,
  chroot: 161,
  clock_settime: 227,
  clone: 56,
  clone3: 435,
  create_module: 174,
  delete_module: 176,
  fanotify_init: 300,
  finit_module: 313,
  fsconfig: 431,
  fsmount: 432,
  fsopen: 430,
  fspick: 433,
  get_kernel_syms: 177,
  get_mempolicy: 239,
  init_module: 175,
  io_uring_enter: 426,
  io_uring_register: 427,
  io_uring_setup: 425,
  ioperm: 173,
  iopl: 172,
  kcmp: 312,
  kexec_file_load: 320,
  kexec_load: 246,
  keyctl: 250,
  lookup_dcookie: 212,
  mbind: 237,
  migrate_pages: 256,
  mount: 165,
  mount_setattr: 442,
  move_mount: 429,
  move_pages: 279,
  nfsservctl: 180,
  open_by_handle_at: 304,
  open_tree: 428,
  perf_event_open: 298,
  pidfd_getfd: 438,
  pivot_root: 155,
  process_madvise: 440,
  query_module: 178,
  quotactl: 179,
  quotactl_fd: 443,
  reboot: 169,
  request_key: 249,
  set_mempolicy: 238,
  set_mempolicy_home_node: 450,
  setns: 308,
  settimeofday: 164,
  socket: 41,
  swapoff: 168,
  swapon: 167,
  sysfs: 139,
  syslog: 103,
  umount2: 166,
  unshare: 272,
  uselib: 134,
  userfaultfd: 323,
  ustat: 136,
  vhangup: 153,
};

const loadNumber = instruction(0x20, 0, 0, 0);
const allow = instruction(0x06, 0, 0, 0x7fff_0000);

/** The profile as the program that the kernel runs on x64, for `bwrap --seccomp`; other machines have none. */
export function filterOf({ syscalls }: Pick<SeccompProfile, 'syscalls'>): Buffer {
  const rules = syscalls.flatMap(({ names, errnoRet, args: [arg] = [] }) =>
    names.flatMap((name) => {
      const number = x64[name];
      if (number === undefined) return [];
      const fail = instruction(0x06, 0, 0, 0x0005_0000 | errnoRet);
      if (arg === undefined) return [instruction(0x15, 0, 1, number), fail];
      const isIt = instruction(arg.op === 'SCMP_CMP_EQ' ? 0x15 : 0x45, 0, 1, arg.value);
      const loadArgument = instruction(0x20, 0, 0, 16 + 8 * arg.index);
      return [instruction(0x15, 0, 3, number), loadArgument, isIt, fail, loadNumber];
    }),
  );
  return Buffer.concat([loadNumber, ...rules, allow]);
}

function instruction(code: number, ifTrue: number, ifFalse: number, value: number): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeUInt16LE(code, 0);
  bytes.writeUInt8(ifTrue, 2);
  bytes.writeUInt8(ifFalse, 3);
  bytes.writeUInt32LE(value >>> 0, 4);
  return bytes;
}
