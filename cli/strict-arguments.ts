import type { Command, Option } from 'commander';

/**
 * Makes a command reject by name what commander accepts or reports differently: an unknown option, even if a required
 * one is also missing; an option before the command; an option given twice, but for one that
 * takes several values; an option whose value is the next option.
 */
export function refuseMisplaced(command: Command): void {
  const parse = command.parseOptions.bind(command);
  command.parseOptions = (args) => {
    const parsed = parse(args);
    // What follows the name of a command belongs to that command.
    if (command.commands.length > 0 && parsed.operands.length > 0) return parsed;
    const [first = ''] = parsed.unknown;
    if (!first.startsWith('-') || first === '-' || parsed.unknown.some(isHelp)) return parsed;
    const [flag = ''] = first.split('=');
    if (command.commands.some(({ options }) => options.some((option) => isFlag(option, flag)))) {
      command.error(`error: option '${flag}' belongs after the name of the command`);
    }
    // Commander names it, with a similar option, once no required option is missing.
    for (const option of command.options) option.mandatory = false;
    return parsed;
  };
  for (const option of command.options.filter(takesValue)) refuseSecondValue(command, option);
}

function refuseSecondValue(command: Command, option: Option): void {
  let isGiven = false;
  command.on(`option:${option.name()}`, (value: string | undefined) => {
    if (isGiven && !option.variadic) command.error(`error: option '${option.flags}' is given twice`);
    isGiven = true;
    if (value !== undefined && command.options.some((other) => isFlag(other, value))) {
      command.error(`error: option '${option.flags}' argument missing`);
    }
  });
}

function isFlag({ short, long }: Option, argument: string): boolean {
  return argument === short || argument === long;
}

export function takesValue({ required, optional }: Option): boolean {
  return required || optional;
}

function isHelp(argument: string): boolean {
  return argument === '-h' || argument === '--help';
}
