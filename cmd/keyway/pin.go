package main

import (
	"context"
	"strconv"
	"strings"

	"keyway/internal/keyway"
	"keyway/internal/sshconfig"
)

// checkAnswer compares what a place says it has made with what it was asked for.
// What goes into the entry comes from the request; an answer that differs is about
// something else, or a lie.
func checkAnswer(place keyway.Place, s keyway.Spec, made keyway.Workspace) error {
	user, _, _ := strings.Cut(s.User, ":")
	answered := made.Guest.User
	if _, err := strconv.Atoi(user); err == nil {
		answered = strconv.Itoa(made.Guest.UID) // asked for by number: what it is called there is the image's to say
	}
	for _, c := range []struct{ what, asked, got string }{
		{"name", string(s.Name), string(made.Name)},
		{"engine", s.Engine, made.Engine},
		{"user", user, answered},
		{"agent forwarding", onOff(s.ForwardAgent), onOff(made.ForwardAgent)},
	} {
		if c.asked != "" && c.asked != c.got {
			return keyway.Errorf(keyway.Untrusted, "%s was asked for a workspace with the %s %s, and answers with %q", place, c.what, c.asked, brief(c.got)).
				Hint("nothing was written on this laptop. See what is wrong with %s, or ask its administrator", place)
		}
	}
	return nil
}

func onOff(on bool) string {
	if on {
		return "on"
	}
	return "off"
}

// brief is the beginning of a word that may be long.
func brief(s string) string {
	const most = 64
	if len(s) > most {
		return s[:most] + "…"
	}
	return s
}

// entryOf is the entry for a workspace as it was asked for. From the place come
// only its host key, which has yet to prove itself, the name to log in with, and
// the engine where none was asked for.
func entryOf(place keyway.Place, s keyway.Spec, made keyway.Workspace) sshconfig.Entry {
	return sshconfig.Entry{
		Name: s.Name, Place: place, Engine: made.Engine, User: made.Guest.User,
		HostKey: made.Guest.HostKey, ForwardAgent: s.ForwardAgent, Created: made.Created,
	}
}

// prove demands of e's host key that it is nobody else's and that the guest holds
// it. Nothing is written before.
func (a *app) prove(ctx context.Context, known *sshconfig.Surroundings, e sshconfig.Entry) error {
	if err := e.Validate(); err != nil {
		return err
	}
	if err := known.CheckKey(e.Place, e.Name, e.HostKey); err != nil {
		return err
	}
	l, err := a.link(ctx)
	if err != nil {
		return err
	}
	return l.Prove(ctx, e.Place, e.Name, e.HostKey)
}
