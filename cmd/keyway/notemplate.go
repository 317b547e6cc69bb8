package main

import (
	"context"
	"slices"
	"strings"

	"keyway/internal/keyway"
	"keyway/internal/plain"
	"keyway/internal/sshconfig"
)

// operand returns a name as the first operand of a command, even if it looks like an option.
func operand(name string) string {
	if strings.HasPrefix(name, "-") {
		return "-- " + plain.Shell(name)
	}
	return plain.Shell(name)
}

// noTemplate returns the error for a command about templates whose word names none. If the word
// probably means something else, the error says so; otherwise it is e. An empty command means up.
func noTemplate(ctx context.Context, command, word string, e error) error {
	a, err := newApp()
	if err != nil {
		return err
	}
	if w, err := a.Lookup(word); err == nil {
		e := keyway.Errorf(keyway.Usage, "%s is a workspace at %s, and no template", w.Name, w.Place)
		switch command {
		case "":
			return keyway.Errorf(keyway.Usage, "%s is a workspace at %s already", w.Name, w.Place).
				Hint("enter it: ssh %s; if it was stopped: keyway start %s", w.Name, w.Place.Of(w.Name))
		case "pin":
			return e.Hint("name its template, too: keyway pin TEMPLATE --from %s\nsee which there are: keyway templates", plain.Shell(w.Place.Of(w.Name)))
		}
		return e.Hint("name its template: keyway %s TEMPLATE --on %s\nsee which there are: keyway templates", command, plain.Shell(string(w.Place)))
	}
	places, _ := a.Hosts.Places()
	if slices.Contains(append(places, keyway.Local), keyway.Place(word)) || sshconfig.IsHost(ctx, word) {
		e := keyway.Errorf(keyway.Usage, "%s is a host: it goes after --on", word)
		if command == "" {
			return e.Hint("keyway up --on %s --image IMAGE --name NAME", plain.Shell(word))
		}
		return e.Hint("keyway %s TEMPLATE --on %s", command, plain.Shell(word))
	}
	return meantImage(command, word, forCommand(command, e))
}

// ofAnImage maps each command that accepts an image in place of a template to its form for
// images.
var ofAnImage = map[string]string{"": "keyway up --image %s", "check": "keyway check --image %s", "bake": "keyway bake --image %s --tag NAME"}

// meantImage returns err with the command to type if word looks like an image: it has a path, a
// tag or a digest.
func meantImage(command, word string, err error) error {
	typed, ok := ofAnImage[command]
	if !ok || !isReference(word) || !strings.ContainsAny(word, "/:@") {
		return err
	}
	with := *keyway.AsError(err)
	if with.Nearest == "" { // the nearest template
		with.Next, with.Advice = "see which templates there are: keyway templates", nil
	}
	return with.Hint("%s", strings.TrimSpace(plain.Sprintf("if it is an image: "+typed, plain.Shell(word))+"\n"+with.Next))
}

// forCommand changes err's advice about templates, which is for up, into advice for another
// command.
func forCommand(command string, err error) error {
	e := keyway.AsError(err)
	if command == "" {
		return err
	}
	with := *e
	with.Advice = nil
	for _, a := range e.Advice {
		switch {
		case a.Step == keyway.MeantTemplate && len(a.About) == 1:
			with = *with.Hint("did you mean: keyway %s %s", command, operand(a.About[0]))
		case a.Step == keyway.NameTemplate && with.Next == "" && len(a.About) == 1:
			with = *with.Hint("name one, for example: keyway %s %s", command, operand(a.About[0]))
		case a.Step == keyway.NameTemplate:
		case a.Step == keyway.SeeTemplates:
			with = *with.Hint("see which there are: keyway templates")
		default:
			with.Advice = append(with.Advice, a)
		}
	}
	return &with
}
