/** The logo: two speech bubbles, one round as a person, one square as a machine. */
export function Mark() {
  return (
    <svg className="mark" viewBox="0 0 32 32" width="32" height="32" aria-hidden="true" focusable="false">
      <path className="mark-human" d="M11 3a9 9 0 0 1 9 9 9 9 0 0 1-9 9 9 9 0 0 1-3.6-.8L2.6 21l1-4.4A9 9 0 0 1 11 3Z" />
      <path className="mark-ai" d="M17 13h10a3 3 0 0 1 3 3v8a3 3 0 0 1-3 3v3.4L22.8 27H17a3 3 0 0 1-3-3v-8a3 3 0 0 1 3-3Z" />
    </svg>
  );
}
