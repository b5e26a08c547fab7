/** A text without its line ends and indents: what the command line wrapped, as it was said. */
export const flowed = (text: string) => text.replace(/\s+/g, ' ');
