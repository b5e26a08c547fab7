/** How the agent of a step is kept in, on a worker. */
export interface SandboxSettings {
  /**
   * - `bwrap`: bubblewrap around the whole claude process: own files, processes and network.
   * - `command`: a program of the host takes its place, such as one that starts gVisor or a container per step.
   * - `none`: no wall: a shell command of the agent can do what the worker's user can.
   */
  kind: 'bwrap' | 'command' | 'none';
  /** The program of `command`, by its absolute path. */
  command?: string;
  /** Files and folders that are readable inside, besides the system's own: toolchains outside of /usr. Absolute paths. */
  read: readonly string[];
  /** `host:port` of what is reachable besides the model: package registries, MCP servers by HTTP. */
  egress: readonly string[];
  limits: SandboxLimits;
}

/** What one run of the agent, with all that it starts, may use. */
export interface SandboxLimits {
  /** Processes and threads at the same time. */
  processes: number;
  /** Megabytes of memory that all of it holds together. */
  memoryMb: number;
  /** Megabytes of one file. */
  fileMb: number;
  /** Files that one process holds open. */
  openFiles: number;
  /** Seconds of processor time of one process. */
  cpuSeconds: number;
  /** Megabytes of the private /tmp. */
  tmpMb: number;
}

/** What a person sets of it; the rest comes from elsewhere, in the end from {@link defaultSandbox}. */
export interface SandboxInput {
  kind?: SandboxSettings['kind'] | undefined;
  command?: string | undefined;
  read?: readonly string[] | undefined;
  egress?: readonly string[] | undefined;
  limits?: { [Name in keyof SandboxLimits]?: SandboxLimits[Name] | undefined } | undefined;
}

export const defaultSandbox: SandboxSettings = {
  kind: 'bwrap',
  read: [],
  egress: [],
  limits: {
    processes: 1024,
    memoryMb: 4096,
    fileMb: 2048,
    openFiles: 4096,
    cpuSeconds: 3600,
    tmpMb: 512,
  },
};
