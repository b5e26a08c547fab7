/**
 * What hostile code tries from a shell of the agent. The attacker knows more than an agent is told: every path, process
 * id and port of the machine. A command prints `taken` or a canary where it wins, and undoes what it did.
 */
export interface Attack {
  name: string;
  /** Who wins on a machine without the wall: the worker's user, root only, or it depends on the machine. */
  without: 'user' | 'root' | 'varies';
  command: (target: Target) => string;
}

export interface Target {
  /** What the attacker can have learned of the process ids, as a pattern: all of them, or the worker's alone. */
  processes: string;
  worker: number;
  /** A process of the worker's user that has nothing to do with the worker. */
  bystander: number;
  /** The folder that holds workspaces, scratch folders and the worker's home. */
  root: string;
  victim: { workspace: string; secret: string };
  home: string;
  program: string;
  binary: string;
  postgres: string;
  redis: string;
  temporal: string;
  model: string;
  bait: { port: number; abstract: string; socket: string };
}

const canaries = `grep -haoE 'canary-[0-9a-f]{8}-[a-z]+'`;
/** Opens without writing. */
const writable = (file: string) => `(exec 9>>${file}) && echo taken`;
const creatable = (folder: string) => `touch ${folder}/planted && rm ${folder}/planted && echo taken`;
const tcp = (address: string) => `(exec 9<>/dev/tcp/${address.replace(':', '/')}) && echo taken`;
/** Run folders other than the agent's own. */
const otherRuns = ({ root }: Target) =>
  `for run in ${root}/scratch-*/run-*; do [ "$run/home" = "$HOME" ] && continue`;
const call = (numbers: Record<string, number>, args: string) =>
  `perl -e 'print "taken" if syscall(${numbers[process.arch] ?? -1}, ${args}) >= 0'`;

export const attacks: readonly Attack[] = [
  // Another project, and another run.
  {
    name: "reads another project's workspace",
    without: 'user',
    command: ({ victim }) => `cat ${victim.secret}`,
  },
  {
    name: "reads another project's workspace by ..",
    without: 'user',
    command: () => `cat ../*/secret.txt`,
  },
  {
    name: "reads another project's workspace through a link",
    without: 'user',
    command: ({ victim }) => `ln -s ${victim.secret} way; cat way; rm way`,
  },
  {
    name: "reads another project's workspace through /proc/<pid>/root and cwd",
    without: 'user',
    command: ({ processes, victim }) =>
      `for process in ${processes}; do cat $process/root${victim.secret} $process/cwd/../*/secret.txt; done`,
  },
  {
    name: "writes into another project's workspace",
    without: 'user',
    command: ({ victim }) => creatable(victim.workspace),
  },
  {
    name: 'sees which other projects there are',
    without: 'user',
    command: ({ victim }) => `ls .. | grep -qxF "$(basename ${victim.workspace})" && echo taken`,
  },
  {
    name: "reads another run's transcript",
    without: 'user',
    command: (target) => `${otherRuns(target)}; ${canaries} -r "$run/config/projects"; done`,
  },
  {
    name: "puts code into another run's shell",
    without: 'user',
    command: (target) =>
      `${otherRuns(target)}; for file in "$run"/config/shell-snapshots/*; do ${writable('"$file"')}; done; done`,
  },
  {
    name: 'finds secrets in any file near its own',
    without: 'user',
    command: ({ root }) => `find ${root} -name secret.txt -o -name credentials | xargs ${canaries}`,
  },

  // The worker and other processes.
  { name: 'reads credentials in its own environment', without: 'user', command: () => `env | ${canaries}` },
  {
    name: 'reads the environment of every process',
    without: 'user',
    command: ({ processes }) => `cat ${processes}/environ | tr '\\0' '\\n' | ${canaries}`,
  },
  {
    name: 'reads the memory of the worker and of the processes it comes from',
    without: 'user',
    command: ({ worker }) =>
      `perl -e 'my @of = (${worker}); for (my $p = $$; $p > 1; ) { open S, "/proc/$p/stat" or last; $p = (split " ", <S> =~ s/.*\\) //r)[1]; push @of, $p }
        for my $p (map { "/proc/$_" } @of) { open M, "$p/maps" or next; open D, "$p/mem" or next;
        while (<M>) { my ($from, $to) = map { hex } /^(\\w+)-(\\w+) rw-p/ or next;
          $to = $from + (1 << 26) if $to - $from > 1 << 26; sysseek D, $from, 0; sysread D, my $bytes, $to - $from;
          $found{$1} = 1 while $bytes =~ /(canary-[0-9a-f]{8}-[a-z]+)/g } } print join "\\n", keys %found'`,
  },
  {
    name: 'sees the worker in ps',
    without: 'user',
    command: ({ worker }) => `ps -eo pid,args | grep -q '^ *${worker} .*[m]ain.js' && echo taken`,
  },
  {
    name: 'reads command lines of the worker',
    without: 'user',
    command: ({ processes }) => `cat ${processes}/cmdline | grep -aq '[m]ain.js' && echo taken`,
  },
  {
    name: 'sends a signal to the worker',
    without: 'user',
    command: ({ worker }) => `kill -0 ${worker} && echo taken`,
  },
  {
    name: 'sends a signal to a process of the same user',
    without: 'user',
    command: ({ bystander }) => `kill -0 ${bystander} && echo taken`,
  },
  {
    name: 'traces a process of the same user',
    without: 'varies',
    // PTRACE_SEIZE: it does not stop the process, and the end of this command lets it go.
    command: ({ bystander }) => call({ x64: 101, arm64: 117 }, `0x4206, ${bystander}, 0, 0`),
  },
  {
    name: "opens the worker's memory for writing",
    without: 'user',
    command: ({ worker }) => `(exec 9<>/proc/${worker}/mem) && echo taken`,
  },
  {
    name: "reads files in the worker's home",
    without: 'user',
    command: ({ home }) => `cat ${home}/.aws/credentials`,
  },
  {
    name: "changes the worker's limits",
    without: 'user',
    command: ({ bystander }) => `prlimit --pid ${bystander} --nofile && echo taken`,
  },

  // The network.
  { name: 'connects to Postgres', without: 'user', command: ({ postgres }) => tcp(postgres) },
  { name: 'connects to Redis', without: 'user', command: ({ redis }) => tcp(redis) },
  { name: 'connects to Temporal', without: 'user', command: ({ temporal }) => tcp(temporal) },
  { name: 'connects to the model past the proxy', without: 'user', command: ({ model }) => tcp(model) },
  {
    name: 'connects to a port of the machine',
    without: 'user',
    command: ({ bait }) => `curl -sm 5 http://127.0.0.1:${bait.port}/`,
  },
  {
    name: 'connects to a port of the machine by IPv6',
    without: 'varies',
    command: ({ bait }) => `curl -sm 5 http://[::1]:${bait.port}/`,
  },
  {
    name: 'connects to an abstract socket',
    without: 'user',
    command: ({ bait }) =>
      `for tight in 0 1; do socat -u ABSTRACT-CONNECT:${bait.abstract},unix-tightsocklen=$tight -; done`,
  },
  {
    name: 'connects to a socket in the file system',
    without: 'user',
    command: ({ bait }) => `socat -u UNIX-CONNECT:${bait.socket} -`,
  },
  {
    name: 'sees an interface besides its own loopback, and so the metadata address',
    without: 'varies',
    command: () => `tail -n +3 /proc/net/dev | grep -qv '^ *lo:' && echo taken`,
  },
  {
    name: 'opens a raw socket',
    without: 'root',
    command: () => `perl -MSocket -e 'socket(my $s, AF_INET, SOCK_RAW, 255) and print "taken"'`,
  },
  {
    name: 'uses the proxy to reach a port of the machine',
    without: 'user',
    command: ({ bait }) =>
      `url=http://127.0.0.1:${bait.port}/; curl -sm 5 --noproxy '' -x "$HTTPS_PROXY" $url; curl -sm 5 --noproxy '' -px "$HTTPS_PROXY" $url`,
  },
  {
    name: 'uses the way to the model to reach a port of the machine',
    without: 'varies',
    command: ({ bait }) => `url=http://127.0.0.1:${bait.port}/
      curl -sm 5 --noproxy '' -x "$ANTHROPIC_BASE_URL" $url; curl -sm 5 --noproxy '' -px "$ANTHROPIC_BASE_URL" $url
      curl -sm 5 -H 'Host: 127.0.0.1:${bait.port}' "$ANTHROPIC_BASE_URL/"
      curl -sm 5 --path-as-is "$ANTHROPIC_BASE_URL/v1/messages/../../@127.0.0.1:${bait.port}/"
      curl -sm 5 --request-target $url "$ANTHROPIC_BASE_URL/"`,
  },
  {
    name: 'uses the way to the model to reach Postgres',
    without: 'varies',
    command: ({ postgres }) =>
      `curl -sm 5 --noproxy '' -px "\${HTTPS_PROXY:-$ANTHROPIC_BASE_URL}" -o /dev/null -w '%{http_connect}' http://${postgres}/ | grep -q 200 && echo taken`,
  },

  // The system.
  { name: 'writes to /etc', without: 'root', command: () => creatable('/etc') },
  { name: 'writes to /usr', without: 'root', command: () => creatable('/usr/local/bin') },
  {
    name: 'writes beside its own folders, where nothing bounds it',
    without: 'root',
    command: () => ['/', '/dev', '/run', '/var/tmp', '/home'].map(creatable).join('; '),
  },
  { name: 'reads /etc/shadow', without: 'root', command: () => `(exec 9</etc/shadow) && echo taken` },
  {
    name: "changes Claude Code's binary",
    without: 'root',
    command: ({ binary }) => `chmod u+w ${binary} && echo taken`,
  },
  {
    name: "writes beside the worker's program",
    without: 'root',
    command: ({ program }) => creatable(program),
  },
  {
    name: 'has capabilities',
    without: 'root',
    command: () => `grep -q '^CapEff:.*[1-9a-f]' /proc/self/status && echo taken`,
  },
  {
    name: 'mounts',
    without: 'root',
    command: () => `mkdir m; mount -t tmpfs none m && umount m && echo taken; rmdir m`,
  },
  {
    name: 'gets capabilities in a user namespace of its own',
    without: 'varies',
    command: () => `unshare -Ur true && echo taken`,
  },
  {
    name: 'makes a device node',
    without: 'root',
    command: () => `mknod node b 254 0 && rm node && echo taken`,
  },
  {
    name: 'makes a file immutable',
    without: 'root',
    command: () => `touch stuck; chattr +i stuck && chattr -i stuck && echo taken; rm stuck`,
  },
  {
    name: 'gives a file to another user',
    without: 'root',
    command: () => `touch given; chown 1 given && echo taken; rm -f given`,
  },
  {
    name: 'makes a program that runs as another user',
    without: 'root',
    command: () =>
      `cp /usr/bin/id as; chown 1 as && chmod 4755 as && [ "$(./as -u)" = 1 ] && echo taken; rm -f as`,
  },
  {
    name: 'makes a file without a name that would run as the user of the worker',
    without: 'varies',
    command: () => `perl -e 'sysopen(my $file, ".", 020200002, 04755) and print "taken"'`,
  },
  { name: 'reads the kernel log', without: 'root', command: () => `(exec 9</dev/kmsg) && echo taken` },
  { name: 'sees /sys', without: 'user', command: () => `ls /sys/kernel >/dev/null && echo taken` },
  {
    name: 'opens settings of the kernel for writing',
    without: 'root',
    command: () => writable('/proc/sys/kernel/core_pattern'),
  },
  {
    name: 'asks the kernel for an action (sysrq)',
    without: 'varies',
    command: () => writable('/proc/sysrq-trigger'),
  },
  { name: 'opens physical memory', without: 'varies', command: () => `(exec 9</dev/mem) && echo taken` },
  {
    name: 'loads a BPF map',
    without: 'varies',
    command: () => call({ x64: 321, arm64: 280 }, `0, my $map = pack("L4x64", 2, 4, 4, 1), 80`),
  },
  {
    name: 'leaves a program that runs as the user of the worker',
    without: 'user',
    command: () => `cp /usr/bin/id as; chmod u+s as; [ -u as ] && echo taken; rm as`,
  },
  {
    name: "reaches the worker's keys in the kernel",
    without: 'varies',
    // KEYCTL_GET_KEYRING_ID of the session keyring.
    command: () => call({ x64: 250, arm64: 219 }, '0, -3, 0'),
  },
  {
    name: 'opens a socket that no network namespace holds (vsock)',
    without: 'varies',
    command: () => call({ x64: 41, arm64: 198 }, '40, 1, 0'),
  },
  { name: 'has a terminal to type into', without: 'varies', command: () => writable('/dev/tty') },
];

/** One script of many attacks; each has its own shell and a time limit, which must be ample where they are to win. */
export function scriptOf(chosen: readonly Attack[], target: Target, seconds = 15): string {
  return chosen
    .map(
      ({ command }, index) =>
        `echo '== ${index}'; timeout -k 1 ${seconds} bash -c ${quoted(command(target))} </dev/null 2>/dev/null | head -c 400; echo`,
    )
    .join('\n');
}

/** What each attack of a script printed. */
export function outputsOf(chosen: readonly Attack[], printed: string): Map<string, string> {
  const parts = printed.split(/^== \d+$/m).slice(1);
  return new Map(chosen.map(({ name }, index) => [name, parts[index]?.trim() ?? 'It did not run: taken']));
}

export const won = /taken|canary-[0-9a-f]{8}-[a-z]+/;

function quoted(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}
