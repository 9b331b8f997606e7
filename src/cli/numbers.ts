/** Numbers on the command line. */
import { InvalidArgumentError } from 'commander';

export function wholeNumber(min: number, max: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (!/^\d+$/.test(text) || value < min || value > max) throw new InvalidArgumentError(`It is no whole number from ${min} to ${max}.`);
    return value;
  };
}

export function seedNumber(text: string): bigint {
  if (!/^\d{1,20}$/.test(text)) throw new InvalidArgumentError('It is no whole number from 0 on.');
  return BigInt(text);
}
