import type { Argument, Command, Option } from 'commander';
import { takesValue } from './strict-arguments.js';

/** Scripts by which a shell completes commands, options and their values, made from the commands themselves. */

export const shells = ['bash', 'zsh', 'fish'] as const;
export type Shell = (typeof shells)[number];

/** The script for a shell, to be evaluated by it. */
export function completionScript(shell: Shell, program: Command): string {
  const commands = program.commands.map((command) => ({
    name: command.name(),
    description: firstSentence(command.description()),
    // Of a command with commands of its own, those of any of them.
    options: uniqueOptions([command, ...command.commands]),
    values:
      command.commands.length > 0
        ? [command.commands.map((child) => child.name())]
        : command.registeredArguments.map((argument) => valuesOf(argument, argument.name())),
  }));
  const options = [...program.options.map(optionOf), helpOption];
  return { bash, zsh, fish }[shell](program.name(), { commands, options });
}

interface Completed {
  options: CompletedOption[];
  commands: CompletedCommand[];
}

interface CompletedCommand {
  name: string;
  description: string;
  options: CompletedOption[];
  /** Of its arguments, one after the other. */
  values: Values[];
}

interface CompletedOption {
  /** `-o` and `--output`, or one of them. */
  flags: string[];
  description: string;
  /** Null for one that takes no value. */
  values: Values | null;
}

/** What a value may be: one of these words, a path, or anything (no words). */
type Values = 'folder' | 'file' | readonly string[];

const helpOption: CompletedOption = { flags: ['-h', '--help'], description: 'Show the help', values: null };

function optionOf(option: Option): CompletedOption {
  const { short, long, description, flags } = option;
  return {
    flags: [short, long].filter((flag) => flag !== undefined),
    description: firstSentence(description),
    values: takesValue(option) ? valuesOf(option, flags) : null,
  };
}

function uniqueOptions(commands: readonly Command[]): CompletedOption[] {
  const byName = new Map(
    commands.flatMap(({ options }) => options).map((option) => [option.name(), option] as const),
  );
  return [...[...byName.values()].map(optionOf), helpOption];
}

function valuesOf({ argChoices }: Option | Argument, name: string): Values {
  if (argChoices) return argChoices;
  if (/\bfolder\b/.test(name)) return 'folder';
  return /\bfile>/.test(name) ? 'file' : [];
}

function firstSentence(text: string): string {
  return (/^.*?(?=\.(\s|$))/.exec(text.replace(/\s+/g, ' '))?.[0] ?? text).slice(0, 100);
}

const functionName = (program: string) => `_${program.replaceAll('-', '_')}`;
const quoted = (text: string) => `'${text.replaceAll("'", `'\\''`)}'`;

function bash(program: string, { commands, options }: Completed): string {
  const words = (all: CompletedOption[], more: string[] = []) =>
    quoted([...more, ...all.flatMap(({ flags }) => flags)].join(' '));
  const generate = (values: Values) =>
    values === 'folder'
      ? ' -d'
      : values === 'file'
        ? ' -f'
        : values.length > 0
          ? ` -W ${quoted(values.join(' '))}`
          : '';
  const optionCases = commands.flatMap(({ name, options: own }) =>
    own.flatMap(({ flags, values }) =>
      values === null
        ? []
        : [`    ${flags.map((flag) => quoted(`${name} ${flag}`)).join('|')}) set --${generate(values)} ;;`],
    ),
  );
  const commandCases = commands.map(({ name, options: own, values: [first] }) => {
    const given = Array.isArray(first) ? (first as string[]) : [];
    return `    ${name}) set -- -W ${words(own, given)} ;;`;
  });
  return `# Completes ${program} in bash: eval "$(${program} completion bash)"
${functionName(program)}() {
  local IFS=$'\\n' word=\${COMP_WORDS[COMP_CWORD]} before=\${COMP_WORDS[COMP_CWORD-1]}
  # Bash takes the sign in --option=value for a word of its own.
  if [[ $word == = ]]; then word=
  elif [[ $before == = ]]; then before=\${COMP_WORDS[COMP_CWORD-2]}
  fi
  case "\${COMP_WORDS[1]} $before" in
${optionCases.join('\n')}
    *) case $COMP_CWORD:\${COMP_WORDS[1]} in
    1:*) set -- -W ${words(
      options,
      commands.map(({ name }) => name),
    )} ;;
${commandCases.map((one) => one.replace(/^ {4}/, '    *:')).join('\n')}
    *) set -- ;;
    esac ;;
  esac
  COMPREPLY=()
  [[ $# -eq 0 ]] && return
  [[ $1 == -W ]] && IFS=' ' || compopt -o filenames 2>/dev/null
  local generated
  generated=$(compgen "$@" -- "$word")
  IFS=$'\\n'
  COMPREPLY=($generated)
}
complete -F ${functionName(program)} ${program}
`;
}

function zsh(program: string, { commands, options }: Completed): string {
  // Colons and brackets are special in a specification.
  const told = (text: string) => text.replace(/[\\:[\]]/g, '\\$&');
  const action = (values: Values) =>
    values === 'folder'
      ? '_files -/'
      : values === 'file'
        ? '_files'
        : values.length > 0
          ? `(${values.join(' ')})`
          : '';
  const specification = ({ flags, description, values }: CompletedOption) => {
    const rest = quoted(`[${told(description)}]${values === null ? '' : `:value:${action(values)}`}`);
    const [one = ''] = flags;
    return flags.length === 1
      ? `${quoted(one)}${rest}`
      : `${quoted(`(${flags.join(' ')})`)}{${flags.join(',')}}${rest}`;
  };
  const cases = commands.map(
    ({ name, options: own, values }) =>
      `    ${name}) _arguments ${[
        ...own.map(specification),
        ...values.map((value, index) => quoted(`${index + 1}:argument:${action(value)}`)),
      ].join(' ')} ;;`,
  );
  const self = functionName(program);
  return `#compdef ${program}
# Completes ${program} in zsh: eval "$(${program} completion zsh)"
${self}() {
  local context state line curcontext=$curcontext
  local -a commands=(${commands.map(({ name, description }) => quoted(`${name}:${told(description)}`)).join(' ')})
  _arguments -C ${options.map(specification).join(' ')} '1:command:->command' '*::argument:->argument'
  case $state in
  command) _describe command commands ;;
  argument)
    case $words[1] in
${cases.join('\n')}
    esac ;;
  esac
}
if [[ $funcstack[1] == ${self} ]]; then ${self} "$@"; else compdef ${self} ${program}; fi
`;
}

function fish(program: string, { commands, options }: Completed): string {
  const said = (text: string) => `'${text.replace(/[\\']/g, '\\$&')}'`;
  const value = (values: Values | null) =>
    values === null
      ? []
      : values === 'folder'
        ? ['-x', '-a', said('(__fish_complete_directories)')]
        : values === 'file'
          ? ['-r', '-F']
          : ['-x', ...(values.length > 0 ? ['-a', said(values.join(' '))] : [])];
  const line = (...parts: string[]) => ['complete', '-c', program, ...parts].join(' ');
  const optionLine = (condition: string, { flags, description, values }: CompletedOption) =>
    line(
      ...['-n', said(condition)],
      ...flags.flatMap((flag) => (flag.startsWith('--') ? ['-l', flag.slice(2)] : ['-s', flag.slice(1)])),
      ...value(values),
      ...['-d', said(description)],
    );
  return [
    `# Completes ${program} in fish: ${program} completion fish | source`,
    line('-f'),
    ...options.map((option) => optionLine('__fish_use_subcommand', option)),
    ...commands.flatMap(({ name, description, options: own, values: [first] }) => {
      const condition = `__fish_seen_subcommand_from ${name}`;
      return [
        line('-n', said('__fish_use_subcommand'), '-a', name, '-d', said(description)),
        ...(Array.isArray(first) && first.length > 0
          ? [line('-n', said(condition), '-a', said(first.join(' ')))]
          : []),
        ...own.map((option) => optionLine(condition, option)),
      ];
    }),
    '',
  ].join('\n');
}
