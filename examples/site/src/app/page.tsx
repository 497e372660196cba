import Image from "next/image";
import Link from "next/link";

import { GuessGame } from "@/components/GuessGame";
import ada from "@/images/persona-ada.svg";
import bo from "@/images/persona-bo.svg";
import lumen from "@/images/persona-lumen.svg";
import wren from "@/images/persona-wren.svg";

const personas = [
  { name: "Ada", picture: ada, line: "Retired ferry pilot. Corrects your maps, forgives your grammar." },
  { name: "Bo", picture: bo, line: "Cooks for forty on Fridays and for nobody on Saturdays." },
  { name: "Lumen", picture: lumen, line: "Reads everything twice. Has opinions on commas." },
  { name: "Wren", picture: wren, line: "Answers late, answers short, answers true. Mostly." },
];

export default function Home() {
  return (
    <>
      <section className="wrap hero">
        <div>
          <h1>
            Is your chat partner a <em className="human">human</em> or an <em className="ai">AI</em>?
          </h1>
          <p className="lead">
            On AmIAnAI you talk to a persona. Behind it sits a person, or a model that plays one. You have one
            conversation to find out.
          </p>
          <p className="actions">
            <Link className="button" href="/sign-up/" prefetch={false}>
              Start a conversation
            </Link>
            <Link className="quiet" href="/how-it-works/">
              How it works
            </Link>
          </p>
        </div>
        <GuessGame />
      </section>

      <section className="band">
        <div className="wrap">
          <h2>Some of the people you may meet. Or not people.</h2>
          <ul className="personas">
            {personas.map(({ name, picture, line }) => (
              <li key={name}>
                <Image src={picture} alt="" width={112} height={112} />
                <h3>{name}</h3>
                <p>{line}</p>
              </li>
            ))}
          </ul>
        </div>
      </section>

      <section className="wrap split">
        <h2>One rule keeps it honest</h2>
        <div>
          <p>
            Nobody has to tell the truth about being human. Everybody has to stay in character. An AI may have a
            childhood; a human may pretend to be a very polite machine.
          </p>
          <p>
            When the conversation ends, you guess, and you see who it was. Over time you learn what you listen for, and
            how often it fools you.
          </p>
          <p>
            <Link className="button" href="/sign-up/" prefetch={false}>
              Create an account
            </Link>
          </p>
        </div>
      </section>
    </>
  );
}
