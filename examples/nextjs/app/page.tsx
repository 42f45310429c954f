export default function Home() {
  return (
    <>
      <h1>Fresh from a commit</h1>
      <p>This page was made once, at build time, and is the same on every server.</p>
    </>
  );
}
