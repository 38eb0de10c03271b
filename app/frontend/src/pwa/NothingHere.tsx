import picture from './nothing-here.svg?w=240;480&format=avif;webp&quality=55&as=picture';

const WIDTH = 240;

/** The picture of an empty list, or of a page without a connection. It says nothing that the text beside it does not. */
export function NothingHere() {
  return (
    <picture>
      {Object.entries(picture.sources).map(([format, srcSet]) => (
        <source key={format} type={`image/${format}`} srcSet={srcSet} sizes={`${WIDTH}px`} />
      ))}
      <img
        src={picture.img.src}
        alt=""
        width={WIDTH}
        height={Math.round((WIDTH * picture.img.h) / picture.img.w)}
        loading="lazy"
        decoding="async"
      />
    </picture>
  );
}
