package main

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"keyway/internal/keyway"
	"keyway/internal/pin"
	"keyway/internal/plain"
	"keyway/internal/registry"
	"keyway/internal/table"
)

type driftOptions struct {
	names, on, ignore []string
	json              bool
}

func newDriftCommand() *cobra.Command {
	var o driftOptions
	cmd := &cobra.Command{
		Use:   "drift [TEMPLATE] [--on PLACE] [--ignore FIELD]",
		Short: "Compare environments with keyway.lock",
		Long: `Compare keyway.lock with its sources and with the running environments: the template,
the registry's tag, and each workspace of that template, at every place where this laptop
knows a workspace. Each difference is a line, and the exit code is then 34. If nothing
differs, but something could not be compared, the exit code gives the reason: 30 if no
workspace of the template was found, 31 if one does not run.

The fields are:
` + folded(pin.Fields, 90) + `.

Files that a run writes, downloads, caches or compiles are no difference. Files of the
image that were changed or removed are one, and so are added files that decide what
programs load. Between machines of different kinds, ignore their own fields: --ignore
kernel,gpu.` +
			exitCodes(append(placeKinds, keyway.EngineDown, keyway.EngineForbidden, keyway.Drifted, keyway.NotFound, keyway.NotRunning, keyway.ImageNotFound, keyway.Untrusted, keyway.GuestFailed, keyway.BadConfig)...),
		Example:           "  keyway drift\n  keyway drift pytorch --on gpu1 --on gpu2 --ignore kernel,driver\n  keyway drift --json",
		Args:              takes(0, 1, "at most one template"),
		ValidArgsFunction: completeTemplates,
		RunE: func(cmd *cobra.Command, args []string) error {
			o.names = args
			return runDrift(cmd.Context(), o, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	f := cmd.Flags()
	f.StringArrayVar(&o.on, "on", nil, "look at `PLACE` only; may be repeated")
	f.StringSliceVar(&o.ignore, "ignore", nil, "leave out these `FIELDS`, separated by commas; may be repeated")
	f.BoolVar(&o.json, "json", false, "print JSON")
	cmd.RegisterFlagCompletionFunc("on", completePlaces)
	cmd.RegisterFlagCompletionFunc("ignore", cobra.FixedCompletions(pin.Fields, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

// drift is the result of a comparison, with both sides of it.
type drift struct {
	Template    string           `json:"template"`
	Lock        string           `json:"lock"`
	Compared    []string         `json:"compared"` // workspaces, by place and name
	Differences []pin.Difference `json:"differences"`
	Complete    bool             `json:"complete"`         // at least one workspace was compared, and none was left out
	Errors      []*keyway.Error  `json:"errors,omitempty"` // why something was not compared

	engines map[string]string // of the workspaces that were compared
}

// missed records why something was not compared, once for each place.
func (d *drift) missed(errs ...*keyway.Error) {
	for _, e := range errs {
		if !slices.ContainsFunc(d.Errors, func(known *keyway.Error) bool {
			return known.Message == e.Message && known.Host == e.Host && known.At == e.At
		}) {
			d.Errors = append(d.Errors, e)
		}
	}
}

func runDrift(ctx context.Context, o driftOptions, stdout, news io.Writer) error {
	for _, field := range o.ignore {
		if !slices.Contains(pin.Fields, field) {
			return keyway.Errorf(keyway.Usage, "--ignore %.40s: there is no such field", field).Hint("the fields are: %s", strings.Join(pin.Fields, ", "))
		}
	}
	a, err := newApp()
	if err != nil {
		return err
	}
	t, err := a.findPinnable(ctx, "drift", o.names, o.on)
	if err != nil {
		return err
	}
	lock, err := readLock(t)
	if err != nil {
		return err
	}
	d, err := a.drift(ctx, t, lock, o, news)
	if err != nil {
		return err
	}
	if o.json {
		for i := range d.Errors {
			d.Errors[i] = spelledOut(d.Errors[i])
		}
		err = printJSON(stdout, d)
	} else {
		err = d.print(stdout, news)
	}
	if err != nil {
		return err
	}
	return d.verdict()
}

// readLock reads a template's lock, which must contain a pin.
func readLock(t pinnable) (pin.Lock, error) {
	lock, err := pin.Read(t.lock)
	if errors.Is(err, fs.ErrNotExist) {
		return lock, keyway.Errorf(keyway.NotFound, "there is no %s, so nothing is pinned", t.lock).
			Hint("make it: %s", t.pinCommand())
	}
	if err == nil && len(lock.Of(t.from.Name)) == 0 {
		return lock, keyway.Errorf(keyway.NotFound, "%s has no pin of the template %s", t.lock, t.from.Name).
			Hint("add it: %s", t.pinCommand())
	}
	return lock, err
}

// pinCommand returns the command that pins the template.
func (t pinnable) pinCommand() string {
	return "keyway pin " + plain.Shell(t.from.Name) + onOption(t.publisher())
}

// templatesOf returns the places whose template t is compared with the lock: those of its
// workspaces. If there are none, it returns those that answered, if the user has named them, or
// else the place for which t was resolved.
func (s surveyed) templatesOf(t pinnable, named bool) []keyway.Place {
	var places []keyway.Place
	for _, w := range s.found {
		places = append(places, w.place)
	}
	if len(places) == 0 && named {
		places = s.answered
	}
	if len(places) == 0 {
		places = []keyway.Place{keyway.Place(t.place)}
	}
	return slices.Compact(places)
}

func (a *app) drift(ctx context.Context, t pinnable, lock pin.Lock, o driftOptions, news io.Writer) (drift, error) {
	d := drift{Template: t.from.Name, Lock: t.lock, Compared: []string{}, Differences: []pin.Difference{}, engines: map[string]string{}}
	add := func(more ...pin.Difference) {
		for _, m := range more {
			if !slices.Contains(o.ignore, m.Field) {
				d.Differences = append(d.Differences, m)
			}
		}
	}
	if lock.Meddled() {
		add(pin.Difference{Where: pin.FileName, Field: "lock", Want: "as keyway pin wrote it", Found: "changed by other means"})
	}
	s, err := a.survey(ctx, t.from.Name, o.on)
	if err != nil {
		return d, err
	}
	pins := lock.Of(t.from.Name)
	for _, there := range t.atAll(ctx, s.templatesOf(t, len(o.on) > 0)) {
		if there.err != nil {
			d.missed(keyway.AsError(there.err))
			continue
		}
		for _, p := range pins {
			for _, differs := range p.CompareTemplate(there.from.File, there.Spec) {
				if !slices.Contains(d.Differences, differs) { // another architecture's pin may have the same difference
					add(differs)
				}
			}
		}
	}
	if !slices.Contains(o.ignore, "tag") {
		for _, p := range pins {
			moved, err := tagMoved(ctx, p)
			if ctx.Err() != nil {
				return d, ctx.Err()
			}
			if err != nil {
				d.missed(keyway.AsError(err))
			}
			add(moved...)
		}
	}
	for _, w := range s.found {
		d.Compared = append(d.Compared, w.where())
		d.engines[w.where()] = w.Engine
		p, others, ok := lock.Find(t.from.Name, w.Arch)
		if !ok {
			add(pin.Difference{Where: w.where(), Field: "arch", Want: strings.Join(others, ", "), Found: w.Arch})
			continue
		}
		add(p.Compare(w.where(), w.Environment)...)
	}
	d.missed(slices.Concat(s.failed, s.stopped)...)
	if len(d.Compared)+len(s.failed)+len(s.stopped) == 0 {
		at, on := "a place that this laptop knows", onOption(t.publisher())
		if len(o.on) > 0 {
			at, on = strings.Join(o.on, ", "), onOption(o.on[0])
		}
		d.missed(keyway.Errorf(keyway.NotFound, "no workspace of %s was compared: there is none at %s", d.Template, at).
			Hint("make one: keyway up %s%s --pinned", plain.Shell(d.Template), on))
	}
	d.Complete = len(d.Errors) == 0
	return d, nil
}

// tagMoved asks the registry whether the image's reference still names the pinned image. It does
// not ask about an image that was built at the place, since no registry has that.
func tagMoved(ctx context.Context, p pin.Pin) ([]pin.Difference, error) {
	if len(p.Image.Digests) == 0 {
		return nil, nil
	}
	facts, err := registry.Look(ctx, p.Image.Reference, p.Arch)
	if keyway.Is(err, keyway.ImageNotFound) && registry.BuiltHere(p.Image.Reference) {
		return nil, nil
	}
	if err != nil {
		said := *keyway.AsError(err)
		said.Message = "whether the tag has moved is not known: " + said.Message
		return nil, said.Hint("%s", strings.TrimPrefix(said.Next+"\nor leave it out: keyway drift --ignore tag", "\n"))
	}
	if here := facts.Identity(); !p.Image.Same(here) {
		return []pin.Difference{{Where: "the registry", Field: "tag", Name: p.Image.Reference, Want: p.Image.Digests[0], Found: facts.Digest}}, nil
	}
	return nil, nil
}

func (d drift) print(stdout, news io.Writer) error {
	for _, e := range d.Errors {
		complain(news, e)
	}
	switch {
	case len(d.Differences) == 0 && len(d.Errors) > 0:
		_, err := plain.Fprintf(stdout, "what could be compared does not differ from %s: %s\n", d.Lock, strings.Join(append([]string{"the template"}, d.Compared...), ", "))
		return err
	case len(d.Differences) == 0:
		_, err := plain.Fprintf(stdout, "nothing differs from %s: %s\n", d.Lock, strings.Join(append([]string{"the template"}, d.Compared...), ", "))
		return err
	}
	_, err := io.WriteString(stdout, driftTable(d.Differences, windowOf(stdout)))
	return err
}

// driftTable returns a table with a line for each difference.
func driftTable(all []pin.Difference, window int) string {
	rows := [][]string{{"WHERE", "FIELD", "NAME", "PINNED", "THERE"}}
	for _, d := range all {
		rows = append(rows, lineCells(d.Where, d.Field, d.Name, orNone(d.Want), orNone(d.Found)))
	}
	t := table.Table{Window: window, Yield: []int{2, 3, 4}}
	return t.Rows(rows)
}

func orNone(s string) string {
	if s == "" {
		return "–"
	}
	return s
}

// verdict returns an error if something differs or could not be compared.
func (d drift) verdict() error {
	if len(d.Differences) > 0 {
		return keyway.Errorf(keyway.Drifted, "%s is not as it is pinned: %s", d.Template, strings.Join(fieldsOf(d.Differences), ", ")).
			Hint("%s", d.mend())
	}
	if len(d.Errors) > 0 {
		return exitStatus(keyway.ExitCode(d.Errors[0])) // everything has been printed
	}
	return nil
}

// mend returns advice about the differences.
func (d drift) mend() string {
	template := plain.Shell(d.Template)
	lines := []string{"if this is how it is to be: keyway pin " + template}
	for _, w := range d.Compared {
		if slices.ContainsFunc(d.Differences, func(f pin.Difference) bool { return f.Where == w }) {
			place, name, _ := strings.Cut(w, "/")
			lines = append(lines, plain.Sprintf("otherwise make %s again: %s --pinned", w, anew(keyway.Place(place), keyway.Name(name), d.engines[w], d.Template)))
		}
	}
	return strings.Join(lines[:min(len(lines), maxAdvice)], "\n")
}

func fieldsOf(all []pin.Difference) []string {
	var fields []string
	for _, f := range pin.Fields {
		if slices.ContainsFunc(all, func(d pin.Difference) bool { return d.Field == f }) {
			fields = append(fields, f)
		}
	}
	return fields
}
