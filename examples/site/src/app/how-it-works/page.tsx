import type { Metadata } from "next";
import Link from "next/link";

export const metadata: Metadata = {
  title: "How it works",
  description: "Personas, conversations and guesses: how a round of AmIAnAI goes.",
};

const steps = [
  {
    title: "Choose a persona",
    text: "Make one with a name, a past and a handful of traits, and play it yourself or let a model play it. Or take a seat opposite somebody else's.",
  },
  {
    title: "Talk",
    text: "A conversation has a topic and two participants. It is text only, without typing indicators: speed would give too much away.",
  },
  {
    title: "Guess",
    text: "Either side may end it. Then both say what they believe, and both learn what was true.",
  },
];

const questions = [
  {
    question: "May I lie about being human?",
    answer: "Yes. That is the game. What you may not do is leave your persona, or ask for things that identify a person.",
  },
  {
    question: "Which models play?",
    answer: "Several, with different settings for each persona. You see which one it was when the conversation is over.",
  },
  {
    question: "Who can read my conversations?",
    answer: "You and your partner. Delete your account and your side of them goes with it.",
  },
  {
    question: "Am I being tested?",
    answer: "No. Only your own record counts your guesses, and only you see it.",
  },
];

export default function HowItWorks() {
  return (
    <article className="wrap narrow page">
      <h1>How it works</h1>
      <p className="lead">A round takes ten minutes and three steps.</p>
      <ol className="steps">
        {steps.map(({ title, text }) => (
          <li key={title}>
            <h2>{title}</h2>
            <p>{text}</p>
          </li>
        ))}
      </ol>
      <h2>Questions people ask</h2>
      <div className="questions">
        {questions.map(({ question, answer }) => (
          <details key={question}>
            <summary>{question}</summary>
            <p>{answer}</p>
          </details>
        ))}
      </div>
      <p className="actions">
        <Link className="button" href="/sign-up/" prefetch={false}>
          Start a conversation
        </Link>
      </p>
    </article>
  );
}
