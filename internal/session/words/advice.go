package words

import (
	"fmt"
	"strings"

	"keyway/internal/keyway"
)

// sentences are the command lines for steps about sessions, as typed in a workspace. Their one
// value is the session's name.
var sentences = map[keyway.Step]string{
	keyway.SeeOrEndSession: "see it:          keyway attach %[1]s\nor end it first: keyway kill %[1]s",
	keyway.EndSession:      "end it first: keyway kill %[1]s",
	keyway.RemoveEnded:     "remove the records of the ended ones: keyway rm --ended",
	keyway.WithoutTerminal: "run the command without one: keyway run -T",
}

// next returns lines with advice about an error.
func next(e *keyway.Error) string {
	var lines []string
	if e.Next != "" {
		lines = append(lines, e.Next)
	}
	for _, a := range e.Advice {
		text, ok := sentences[a.Step]
		if ok && len(a.About) == 1 {
			text = fmt.Sprintf(text, a.About[0])
		}
		if ok {
			lines = append(lines, text)
		}
	}
	return strings.Join(lines, "\n")
}
