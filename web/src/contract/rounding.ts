/** The nearest whole number, and of two equally near ones the even one, as Python rounds. */
export function roundHalfEven(value: number): number {
  const low = Math.floor(value);
  const over = value - low;
  if (over !== 0.5) return over < 0.5 ? low : low + 1;
  return low % 2 === 0 ? low : low + 1;
}

/** The nearest 32-bit float. */
export const f32 = Math.fround;
