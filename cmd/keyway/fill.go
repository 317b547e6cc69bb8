package main

import (
	"slices"
	"strings"

	"keyway/internal/lazyregexp"
)

// standIns are the words that stand for something of the user's in a command, as in the
// usage lines, in the order in which they are told.
var standIns = []string{
	"PLACE", "HOST", "TEMPLATE", "SERVICE", "IMAGE", "CONTAINER", "NAME", "JOB", "COMMAND", "PORT", "KEYFILE", "KEY", "FILE", "PATH", "DIR", "USER", "TARGET", "VALUE",
}

// standInWord finds them where a shell would take them for themselves.
var standInWord = lazyregexp.New(`(?:^|[\s=:@/'])(` + strings.Join(standIns, "|") + `)(?:$|[\s=:@/'…,;])`)

// noted begins the note about stand-ins.
const noted = "   (with yours for "

// toFill is text with a note behind each line that has stand-ins: nobody is to type them. A
// line that has its note stays as it is.
func toFill(text string) string {
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		if words := standInsOf(line); len(words) > 0 && !strings.Contains(line, noted) {
			lines[i] = line + noted + enumerated(words) + ")"
		}
	}
	return strings.Join(lines, "\n")
}

// standInsOf are those in a line, each once.
func standInsOf(line string) (words []string) {
	for at := 0; ; {
		m := standInWord.FindStringSubmatchIndex(line[at:])
		if m == nil {
			break
		}
		if word := line[at+m[2] : at+m[3]]; !slices.Contains(words, word) {
			words = append(words, word)
		}
		at += m[3] // what ends one may begin the next
	}
	return words
}

// enumerated is "a", "a and b" or "a, b and c".
func enumerated(words []string) string {
	last := len(words) - 1
	if last < 1 {
		return strings.Join(words, "")
	}
	return strings.Join(words[:last], ", ") + " and " + words[last]
}
