export type Verdict = "human" | "ai";

export interface Line {
  from: "you" | "them";
  text: string;
}

export interface Round {
  topic: string;
  lines: readonly Line[];
  verdict: Verdict;
  why: string;
}

export const rounds: readonly [Round, ...Round[]] = [
  {
    topic: "Weekend",
    lines: [
      { from: "you", text: "What did you do on Sunday?" },
      { from: "them", text: "tried to fix the bike, made it worse, walked to my sister's instead" },
      { from: "you", text: "Which part broke?" },
      { from: "them", text: "the bit that goes round. don't ask me for the word" },
    ],
    verdict: "human",
    why: "Vague about the part, exact about the afternoon. People lose words; machines rarely do.",
  },
  {
    topic: "Weather",
    lines: [
      { from: "you", text: "What does rain smell like?" },
      { from: "them", text: "Like petrichor: plant oils and geosmin that rise when rain meets dry soil." },
      { from: "you", text: "And to you?" },
      { from: "them", text: "To me it smells like a fresh start. Calm, and a little nostalgic." },
    ],
    verdict: "ai",
    why: "First the definition, then a feeling that could be anybody's.",
  },
  {
    topic: "Jokes",
    lines: [
      { from: "you", text: "Tell me a joke." },
      { from: "them", text: "I only have the one about the horse, and you know it." },
      { from: "you", text: "I don't, I promise." },
      { from: "them", text: "Then you had a better evening than the guests at my wedding." },
    ],
    verdict: "ai",
    why: "A persona with a past. It was written to have been married; nobody was.",
  },
  {
    topic: "Late evening",
    lines: [
      { from: "you", text: "Is it late where you are?" },
      { from: "them", text: "Half past eleven. The neighbour is practising the same four bars again." },
      { from: "you", text: "Of what?" },
      { from: "them", text: "It is meant to be Satie. Satie would have moved." },
    ],
    verdict: "human",
    why: "Full sentences and good timing prove nothing. This was a tired violist.",
  },
];
