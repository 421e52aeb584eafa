/** A row of the review queue, with its keys. */
import { useEffect, useRef, useState } from "preact/hooks"
import type * as ReviewData from "../Review.ts"
import * as Controls from "../Controls.ts"
import * as Keys from "./Keys.ts"
import * as Words from "./Words.ts"

type Say = (verdict: ReviewData.Said["verdict"], label?: string) => void

/** The answer with one choice made. */
const chosen = (answer: string, question: string, value: string | boolean): string => {
  try {
    return JSON.stringify({ ...(JSON.parse(answer) as object), [question]: value })
  } catch {
    return JSON.stringify({ [question]: value })
  }
}

/** The only question of a decision, and the values to choose from. */
const onlyQuestion = ({ choices }: ReviewData.ReviewItem) => {
  const questions = Object.entries(choices)
  return questions.length === 1 ? questions[0]! : ([undefined, []] as const)
}

/** Says what was chosen: the model's own answer is accepted. */
const choose = (item: ReviewData.ReviewItem, question: string, value: string | boolean, onSay: Say): void => {
  const own = chosen(item.answer, question, value)
  onSay(own === item.answer ? "accepted" : "corrected", own)
}

const Choices = ({ item, onSay }: { readonly item: ReviewData.ReviewItem; readonly onSay: Say }) => {
  const [question, values] = onlyQuestion(item)
  return question === undefined ? null : (
    <div class="choices" role="group" aria-label={question}>
      {values.map((value, at) => (
        <button key={String(value)} type="button" onClick={() => choose(item, question, value, onSay)}>
          {at < 9 ? <kbd>{at + 1}</kbd> : null} {String(value)}
        </button>
      ))}
    </div>
  )
}

const Verdicts = ({
  isEditing,
  onEdit,
  onSay,
  text
}: {
  readonly isEditing: boolean
  readonly text: string
  readonly onEdit: (isEditing: boolean) => void
  readonly onSay: Say
}) => (
  <div class="verdicts">
    {isEditing ? (
      <>
        <button type="button" class="primary" disabled={text.trim() === ""} onClick={() => onSay("corrected", text)}>
          Save the correction <kbd>Ctrl Enter</kbd>
        </button>
        <button type="button" onClick={() => onEdit(false)}>
          Leave it <kbd>Esc</kbd>
        </button>
      </>
    ) : (
      <>
        <button type="button" class="primary" onClick={() => onSay("accepted")}>
          Accept <kbd>a</kbd>
        </button>
        <button type="button" onClick={() => onEdit(true)}>
          Correct <kbd>e</kbd>
        </button>
        <button type="button" onClick={() => onSay("seen")}>
          Skip <kbd>s</kbd>
        </button>
      </>
    )}
  </div>
)

export const ReviewItem = ({ item, onSay }: { readonly item: ReviewData.ReviewItem; readonly onSay: Say }) => {
  const [isEditing, setEditing] = useState(false)
  const [text, setText] = useState(item.label ?? item.answer)
  const field = useRef<HTMLTextAreaElement>(null)
  useEffect(() => {
    if (isEditing) field.current?.focus()
  }, [isEditing])
  useEffect(() => {
    const [question, values] = onlyQuestion(item)
    const key = (event: KeyboardEvent) => {
      if (event.ctrlKey && event.key === "Enter" && isEditing) {
        const own = field.current?.value ?? text
        return own.trim() === "" ? undefined : onSay("corrected", own)
      }
      if (event.key === "Escape" && isEditing) return setEditing(false)
      if (Keys.isTyping(event.target) || event.repeat || event.ctrlKey || event.metaKey || event.altKey) return
      const at = Number(event.key) - 1
      if (question !== undefined && at >= 0 && at < values.length) choose(item, question, values[at]!, onSay)
      else if (event.key === "a") onSay("accepted")
      else if (event.key === "s") onSay("seen")
      else if (event.key === "e") {
        event.preventDefault()
        setEditing(true)
      }
    }
    addEventListener("keydown", key)
    return () => removeEventListener("keydown", key)
  }, [isEditing, text, item])
  return (
    <article class="review">
      <header>
        <h2>
          {item.position === "" ? `row ${item.row}` : Controls.visible(Words.place(item.position))}{" "}
          <small>
            {Controls.visible(item.step)} · {Controls.visible(item.model)}
          </small>
        </h2>
        {item.reasons.length === 0 ? (
          <p class="note">no sign of a mistake</p>
        ) : (
          <p class="why">{Controls.visible(item.reasons.join("; "))}</p>
        )}
      </header>
      <h3>Prompt</h3>
      <pre>{Controls.visible(item.prompt)}</pre>
      <h3>Answer</h3>
      {isEditing ? (
        <textarea
          ref={field}
          aria-label="The correct answer"
          rows={Math.min(20, Math.max(3, text.split("\n").length + 1))}
          value={text}
          onInput={(event) => setText(event.currentTarget.value)}
        />
      ) : (
        <pre class="answer">{Controls.visible(item.answer)}</pre>
      )}
      <Choices item={item} onSay={onSay} />
      <Verdicts isEditing={isEditing} text={text} onEdit={setEditing} onSay={onSay} />
    </article>
  )
}
