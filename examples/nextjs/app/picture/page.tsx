import Image from "next/image";
import leaf from "./leaf.png";

export default function Picture() {
  return (
    <>
      <h1>A picture</h1>
      <Image src={leaf} alt="A green gradient" priority />
    </>
  );
}
