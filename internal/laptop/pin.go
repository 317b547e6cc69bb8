package laptop

import (
	"context"
	"strconv"
	"strings"
	"time"

	"keyway/internal/api"
	"keyway/internal/keyway"
	"keyway/internal/sshconfig"
)

// checkAnswer compares a place's answer with the request. The entry is made from the
// request; an answer that differs is about something else, or a lie.
func checkAnswer(place keyway.Place, s keyway.Spec, made keyway.Workspace) error {
	user, _, _ := strings.Cut(s.User, ":")
	answered := made.Guest.User
	if _, err := strconv.Atoi(user); err == nil {
		answered = strconv.Itoa(made.Guest.UID) // asked for by number: the image decides its name
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

// brief returns the beginning of a word that may be long.
func brief(s string) string {
	const most = 64
	if r := []rune(s); len(r) > most {
		return string(r[:most]) + "…"
	}
	return s
}

// EntryOf returns the entry for a workspace as the user requested it. It takes only these from the
// place: the host key, which has yet to prove itself, the login name, and the engine if none was
// requested.
func EntryOf(place keyway.Place, s keyway.Spec, made keyway.Workspace) sshconfig.Entry {
	return sshconfig.Entry{
		Name: s.Name, Place: place, Engine: made.Engine, User: made.Guest.User,
		HostKey: made.Guest.HostKey, ForwardAgent: s.ForwardAgent, Created: made.Created,
	}
}

// Prove checks that e's host key belongs to no other host and that the guest holds it. Nothing is
// written before.
func (here *Laptop) Prove(ctx context.Context, known *sshconfig.Surroundings, e sshconfig.Entry) error {
	if err := e.Validate(); err != nil {
		return err
	}
	if err := known.CheckKey(e.Place, e.Name, e.HostKey); err != nil {
		return err
	}
	l, err := here.Link(ctx)
	if err != nil {
		return err
	}
	return l.Prove(ctx, e.Place, e.Name, e.HostKey)
}

// Made is a workspace that was made just now: the place's answer beside the request.
type Made struct {
	Place keyway.Place
	Asked keyway.Spec
	Got   keyway.Workspace
	Named []string // the keys of --key
	Keys  KeySet   // the keys that may enter
}

// Pin makes a new workspace known to ssh, once the place's answer fits the request and the host key
// in it has proved itself.
func (here *Laptop) Pin(ctx context.Context, known *sshconfig.Surroundings, m Made) error {
	if err := checkAnswer(m.Place, m.Asked, m.Got); err != nil {
		return err
	}
	e := EntryOf(m.Place, m.Asked, m.Got)
	e.Keys, e.Sent = m.Named, here.sent(ctx, m.Keys)
	if err := here.Prove(ctx, known, e); err != nil {
		return err
	}
	return here.Hosts.Add(e)
}

// Undo removes a workspace that was made and cannot be used. One that only could not be
// reached may yet be of use.
func (here *Laptop) Undo(ctx context.Context, there *api.Client, place keyway.Place, name keyway.Name, why error) error {
	interrupted := ctx.Err() != nil
	if keyway.Is(why, keyway.Unreachable) && !interrupted {
		return keyway.Errorf(keyway.Unreachable, "%s is made, and ssh does not know it yet: %w", name, keyway.Quoted(why)).
			Advise(keyway.AddWhenReached, place.Of(name), string(place))
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleTimeout)
	defer cancel()
	err := there.Undo(ctx, name)
	switch {
	case err != nil:
		return keyway.Errorf(keyway.AsError(why).Kind, "%w; what was made of it is still there", keyway.Quoted(why)).
			Advise(keyway.RemoveRest, place.Of(name))
	case interrupted:
		return keyway.Errorf(keyway.Interrupted, "interrupted; %s is removed again", name)
	}
	return why
}

// settleTimeout bounds the time in which an interrupted up checks that nothing is left.
const settleTimeout = 30 * time.Second

// WaitIdle returns when the workspace is not being made or changed.
func (here *Laptop) WaitIdle(there *api.Client, name keyway.Name) error {
	here.UI.Progress(keyway.Progress{Message: "interrupted: removing what was begun"})
	ctx, cancel := context.WithTimeout(context.Background(), settleTimeout)
	defer cancel()
	if err := there.WaitIdle(ctx, name); err != nil {
		return keyway.Errorf(keyway.Interrupted, "interrupted; whether anything of %s is left is not known: %w", name, keyway.Quoted(err)).
			Advise(keyway.SeeLeft)
	}
	return keyway.Errorf(keyway.Interrupted, "interrupted; nothing of %s is left", name)
}
