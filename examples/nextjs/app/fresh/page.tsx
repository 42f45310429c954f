export const revalidate = 5;

export default function Fresh() {
  return (
    <>
      <h1>Never old</h1>
      <p>
        Made at <time>{new Date().toISOString()}</time>, and again at most every five seconds.
      </p>
    </>
  );
}
