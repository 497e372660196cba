"use client";

import { useState } from "react";

import { rounds, type Round, type Verdict } from "@/components/rounds";

import styles from "./GuessGame.module.css";

const NAMES: Readonly<Record<Verdict, string>> = { human: "Human", ai: "AI" };

function Lines({ round }: Readonly<{ round: Round }>) {
  return (
    <ol className={styles.lines} aria-label="Conversation">
      {round.lines.map((line) => (
        <li key={line.text} className={line.from === "you" ? styles.you : styles.them}>
          <span className="visually-hidden">{line.from === "you" ? "You: " : "Your partner: "}</span>
          {line.text}
        </li>
      ))}
    </ol>
  );
}

/** A taste of the product: read a conversation, guess, learn why. */
export function GuessGame() {
  const [index, setIndex] = useState(0);
  const [guess, setGuess] = useState<Verdict | null>(null);
  const [right, setRight] = useState(0);
  const round = rounds[index % rounds.length] ?? rounds[0];
  const played = index + (guess === null ? 0 : 1);

  const choose = (verdict: Verdict) => {
    setGuess(verdict);
    if (verdict === round.verdict) setRight(right + 1);
  };
  const next = () => {
    setGuess(null);
    setIndex(index + 1);
  };

  return (
    <section className={styles.game} aria-labelledby="game-title">
      <header className={styles.bar}>
        <h2 id="game-title" className={styles.title}>
          Who is this?
        </h2>
        <p className={styles.score}>{played === 0 ? round.topic : `${right} of ${played} right`}</p>
      </header>
      <Lines round={round} />
      <div className={styles.answer}>
        {guess === null ? (
          <div className={styles.choices} role="group" aria-label="Your guess">
            <button type="button" className={styles.human} onClick={() => choose("human")}>
              Human
            </button>
            <button type="button" className={styles.ai} onClick={() => choose("ai")}>
              AI
            </button>
          </div>
        ) : (
          <button type="button" className="button wide" onClick={next} autoFocus>
            Next conversation
          </button>
        )}
        <p className={styles.verdict} role="status">
          {guess === null ? (
            <span className={styles.prompt}>Your partner wrote the lines on the left. What are they?</span>
          ) : (
            <>
              <strong>
                {guess === round.verdict ? "Right." : "Wrong."} {NAMES[round.verdict]}.
              </strong>{" "}
              {round.why}
            </>
          )}
        </p>
      </div>
    </section>
  );
}
