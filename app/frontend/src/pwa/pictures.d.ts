declare module '*&as=picture' {
  const picture: {
    /** A srcset by format, best first. */
    sources: Readonly<Record<string, string>>;
    img: { src: string; w: number; h: number };
  };
  export default picture;
}
