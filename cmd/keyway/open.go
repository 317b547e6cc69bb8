package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"path"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"keyway/internal/keyway"
	"keyway/internal/laptop"
	"keyway/internal/link"
	"keyway/internal/open"
	"keyway/internal/plain"
	"keyway/internal/sshconfig"
)

// opening is one run of keyway open.
type opening struct {
	noBrowser, json bool
	local           int
	jupyterFlags

	app    *app
	entry  sshconfig.Entry
	out    io.Writer // for the URL
	news   io.Writer
	browse func(url string) error
}

func newOpenCommand() *cobra.Command {
	o := opening{browse: open.Browser}
	cmd := &cobra.Command{
		Use:   "open NAME TARGET [FOLDER] [-- ARG…]",
		Short: "Open a port, Jupyter, TensorBoard or an editor of a workspace",
		Long: `Open a service of a workspace on this laptop. TARGET is

` + targetList() + `
keyway forwards a port of 127.0.0.1 of this laptop to it: the same number as in the
workspace, if it is free, or else one that depends on the workspace's name. Nothing is
published at the place. keyway prints the URL and opens the browser. The forwarding survives
lost connections, and ends when you press Ctrl-C in each keyway open that uses it. Every
user of this laptop can connect to the port: a server without token or password is open to
them.

A server that does not run yet is started as a job of the same name (keyway logs
NAME/jupyter). It keeps running when the browser is closed, the laptop sleeps or this
command ends; keyway kill ends it. Words after -- are its arguments. A Jupyter that already
runs is used as it is. A notebook loses no output if its page is closed in the middle of a
cell: a program of keyway's, sent into the workspace once, stands between the page and the
Jupyter server.` + exitCodes(append(placeKinds, keyway.NotFound, keyway.NotRunning, keyway.Untrusted)...),
		Example: `  keyway open train 8080
  keyway open train jupyter
  keyway open train jupyter --vscode
  keyway open train tensorboard -- --logdir runs
  keyway open train code /data/project
  keyway open --no-browser train jupyter`,
		ValidArgsFunction: completeTargets,
		RunE: func(cmd *cobra.Command, args []string) error {
			o.out, o.news = cmd.OutOrStdout(), cmd.ErrOrStderr()
			return o.run(cmd, args)
		},
	}
	f := cmd.Flags()
	f.BoolVar(&o.noBrowser, "no-browser", false, "only print the URL")
	f.BoolVar(&o.noBrowser, "print", false, "the same as --no-browser")
	f.IntVarP(&o.local, "local-port", "p", 0, "use port `N` of this laptop, or fail")
	o.jupyterFlags.add(f)
	f.BoolVar(&o.json, "json", false, "print JSON instead of the URL; implies --no-browser")
	return cmd
}

// targetList describes the targets, for the help.
func targetList() string {
	var b strings.Builder
	line := func(name, short string) { fmt.Fprintf(&b, "  %-12s %s\n", name, short) }
	line("8080", "the server on that port; the command ports lists them")
	for _, t := range open.Targets {
		line(t.Name, t.Short)
	}
	for _, e := range open.Editors {
		line(e.Name, e.Short)
	}
	return b.String()
}

func completeTargets(cmd *cobra.Command, args []string, toComplete string) ([]cobra.Completion, cobra.ShellCompDirective) {
	switch len(args) {
	case 0:
		return completeWorkspaces(cmd, args, toComplete)
	case 1:
		var all []cobra.Completion
		for _, t := range open.Targets {
			all = append(all, cobra.CompletionWithDesc(t.Name, t.Short))
		}
		for _, e := range open.Editors {
			all = append(all, cobra.CompletionWithDesc(e.Name, e.Short))
		}
		return all, cobra.ShellCompDirectiveNoFileComp
	}
	return nil, cobra.ShellCompDirectiveNoFileComp
}

// run opens what args name: the workspace, the target, and the target's own arguments.
func (o opening) run(cmd *cobra.Command, args []string) (err error) {
	given := args // before --
	if dash := cmd.ArgsLenAtDash(); dash >= 0 {
		given = args[:dash]
	}
	if err := takes(2, 3, "a workspace and what to open there")(cmd, given); err != nil {
		return err
	}
	name, target, folder, rest := given[0], given[1], given[2:], args[len(given):]
	if o.app, o.entry, err = appFor(name); err != nil {
		return err
	}
	ctx := cmd.Context()
	defer o.app.ui.end()
	if e, ok := editor(target); ok {
		return o.edit(ctx, e, folder)
	}
	if len(folder) > 0 {
		refused := keyway.Errorf(keyway.Usage, "%s is not an editor, and only editors take a folder", target)
		if _, takes := open.Lookup(target); !takes { // a port has no arguments either
			return refused.Hint("leave %s out", plain.Shell(folder[0]))
		}
		return refused.Hint("arguments for the server: keyway open %s %s -- %s", name, target, plain.Shell(folder[0]))
	}
	s, forgets, err := o.server(ctx, target, rest)
	if err != nil {
		return err
	}
	err = o.app.Forward(ctx, o.entry, link.ForwardRequest{Port: s.Port, Socket: s.Socket, Local: o.local}, (&shown{opening: o, server: s, target: target, forgets: forgets}).state)
	if ctx.Err() != nil {
		return nil // the user ended it by Ctrl-C
	}
	return err
}

// server finds the server of a target, or starts it. After Ctrl-C, the error names the session
// that still starts.
func (o opening) server(ctx context.Context, target string, args []string) (s open.Server, forgets string, err error) {
	w := insideOf{o.app.Laptop, o.entry, new(keyway.Name)}
	if s, forgets, err = o.serverIn(ctx, w, target, args); err != nil && wasInterrupted(ctx) {
		err = leftStarting(o.entry.Name, target, *w.started)
	}
	return s, forgets, err
}

// leftStarting returns the error for a server whose start is no longer awaited. session is the
// session that was started, or empty if that is not certain.
func leftStarting(workspace keyway.Name, target string, session keyway.Name) error {
	if session == "" {
		return keyway.Errorf(keyway.Interrupted, "interrupted before %s was there", plain.Line(target)).
			Hint("see what runs: keyway ls %s", workspace)
	}
	return keyway.Errorf(keyway.Interrupted, "interrupted; %s runs as %s/%s", plain.Line(target), workspace, session).
		Hint("open it: keyway open %[1]s %[2]s\nend it: keyway kill %[1]s/%[3]s", workspace, plain.Shell(target), session)
}

// serverIn is server for a workspace that w asks.
func (o opening) serverIn(ctx context.Context, w insideOf, target string, args []string) (s open.Server, forgets string, err error) {
	if target == "jupyter" {
		if s, err = o.jupyter(ctx, w, args); err == nil || !errors.Is(err, errUnkept) {
			return s, "", err
		}
		fmt.Fprintf(o.news, "[%s]\n", plain.Line(err.Error()))
	}
	if t, ok := open.Lookup(target); ok {
		s, err = t.Ready(ctx, w, args, func() {
			o.app.ui.Progress(keyway.Progress{Message: "starting " + t.Name + " in " + string(o.entry.Name)})
		})
		if keyway.Is(err, keyway.NotRunning) {
			if runs, asked := w.Runs(ctx, t.Session); asked == nil && !runs {
				err = keyway.AsError(err).Hint("see its output: keyway logs %s/%s", o.entry.Name, t.Session)
			}
		}
		return s, t.Forgets, err
	}
	port, err := strconv.Atoi(target)
	if err != nil {
		return s, "", keyway.Errorf(keyway.Usage, "%.40q cannot be opened", target).
			Hint("a port, or one of: %s\nsee what listens: keyway ports %s", strings.Join(targetNames(), ", "), o.entry.Name)
	}
	if port < 1 || port > 65535 {
		return s, "", keyway.Errorf(keyway.Usage, "%d is not a port: ports are 1 to 65535", port)
	}
	if len(args) > 0 {
		return s, "", keyway.Errorf(keyway.Usage, "a port takes no arguments; leave %q out", args[0])
	}
	ports, err := w.Ports(ctx)
	if keyway.Is(err, keyway.NotRunning) || keyway.Is(err, keyway.HostKeyChanged) {
		return s, "", err
	}
	if err == nil {
		o.warn(port, ports)
	}
	return open.Server{Port: port}, "", nil
}

// warn tells the user if no program listens on the port yet.
func (o opening) warn(port int, ports []keyway.Port) {
	elsewhere := ""
	for _, p := range ports {
		if p.Port == port && open.OnLocalhost(p) {
			return
		}
		if p.Port == port {
			elsewhere = p.Address
		}
	}
	if elsewhere != "" {
		fmt.Fprintf(o.news, "[in %s port %d listens on %s alone; have its program listen on 127.0.0.1]\n", o.entry.Name, port, plain.Line(elsewhere))
		return
	}
	fmt.Fprintf(o.news, "[nothing listens on port %d in %s yet; see what does: keyway ports %[2]s]\n", port, o.entry.Name)
}

func targetNames() (names []string) {
	for _, t := range open.Targets {
		names = append(names, t.Name)
	}
	for _, e := range open.Editors {
		names = append(names, e.Name)
	}
	return names
}

func editor(name string) (open.Editor, bool) {
	for _, e := range open.Editors {
		if e.Name == name {
			return e, true
		}
	}
	return open.Editor{}, false
}

// edit has an editor open a folder: the editor's own program, if it is installed, and otherwise
// the URL that it has registered.
func (o opening) edit(ctx context.Context, e open.Editor, given []string) error {
	if o.local != 0 {
		return keyway.Errorf(keyway.Usage, "%s needs no port", e.Name)
	}
	folder := "/"
	if len(given) > 0 {
		folder = given[0]
	} else if home, err := o.app.Output(ctx, o.entry, 4<<10, "sh", "-c", "pwd"); err == nil {
		folder = cmp.Or(strings.TrimSpace(string(home)), "/")
	}
	url, err := e.URL(o.entry.Name, folder)
	if err != nil {
		return err
	}
	if err := o.print(url, 0, 0, ""); err != nil || o.quiet() {
		return err
	}
	if program, err := exec.LookPath(e.Name); err == nil {
		return open.Begin([]string{program, "--remote", open.Remote(o.entry.Name), path.Clean(folder)})
	}
	return o.show(url)
}

func (o opening) quiet() bool { return o.noBrowser || o.json }

// show opens the browser. It returns no error if that fails, since the URL has been printed.
func (o opening) show(url string) error {
	if err := o.browse(url); err != nil {
		fmt.Fprintf(o.news, "[no browser was started (%s); open the URL yourself]\n", plain.Line(err.Error()))
	}
	return nil
}

// opened is the output of keyway open --json.
type opened struct {
	URL     string      `json:"url"`
	Local   int         `json:"local,omitempty"` // port of this laptop
	Port    int         `json:"port,omitempty"`  // port of the workspace
	Session keyway.Name `json:"session,omitempty"`
}

// print prints the URL, for people or as JSON.
func (o opening) print(url string, local, port int, session keyway.Name) error {
	if o.json {
		return printJSON(o.out, opened{url, local, port, session})
	}
	_, err := fmt.Fprintln(o.out, url)
	return err
}

// shown reports the state of a forward while it exists.
type shown struct {
	opening
	server  open.Server
	target  string
	forgets string
	local   int // the port that was printed; 0: none
	why     string
}

// state reports a change of the forward's state.
func (s *shown) state(now link.ForwardState) {
	s.app.ui.end()
	switch {
	case now.Up && s.local != now.Local:
		s.local = now.Local
		s.begun()
	case now.Up && s.why != "":
		fmt.Fprintf(s.news, "[port %d leads to %s again]\n", s.local, s.entry.Name)
	case !now.Up && now.Why != s.why:
		fmt.Fprintf(s.news, "[port %d does not lead to %s now: %s; trying again]\n", s.local, s.entry.Name, plain.Line(now.Why))
	}
	s.why = now.Why
}

// begun reports where the server listens.
func (s *shown) begun() {
	url, err := s.server.URL(s.local)
	if err != nil {
		complain(s.news, keyway.AsError(err))
		url, _ = open.Server{Port: s.server.Port}.URL(s.local)
	}
	if s.vscode {
		s.noBrowser = true
		fmt.Fprint(s.news, vscodeAdvice)
	}
	if err := s.print(url, s.local, s.server.Port, s.server.Session); err != nil {
		return
	}
	if s.server.Session != "" {
		fmt.Fprintf(s.news, "[%s runs as %s/%s until: keyway kill %[2]s/%[3]s]\n", s.target, s.entry.Name, s.server.Session)
	}
	if s.forgets != "" {
		fmt.Fprintf(s.news, "[%s]\n", s.forgets)
	}
	fmt.Fprintf(s.news, "[port %d of this laptop leads to %s of %s; Ctrl-C ends that]\n", s.local, where(s.server), s.entry.Name)
	if !s.quiet() {
		_ = s.show(url)
	}
}

// insideOf implements open.Inside for a workspace.
type insideOf struct {
	*laptop.Laptop
	entry   sshconfig.Entry
	started *keyway.Name // the session started last
}

// maxAnswered bounds the output that is read from a program in a workspace, in bytes.
const maxAnswered = 1 << 20

// Ports implements open.Inside.
func (w insideOf) Ports(ctx context.Context) ([]keyway.Port, error) {
	return w.Laptop.Ports(ctx, w.entry)
}

// Output implements open.Inside.
func (w insideOf) Output(ctx context.Context, argv ...string) ([]byte, error) {
	return w.Laptop.Output(ctx, w.entry, maxAnswered, argv...)
}

// Start implements open.Inside.
func (w insideOf) Start(ctx context.Context, session keyway.Name, argv ...string) error {
	err := w.StartJob(ctx, w.entry, session, argv...)
	if err == nil {
		*w.started = session
	}
	return err
}

// Runs implements open.Inside.
func (w insideOf) Runs(ctx context.Context, session keyway.Name) (bool, error) {
	jobs, err := w.ListJobs(ctx, string(w.entry.Name))
	for _, j := range jobs {
		if j.Name == string(session) {
			return j.Alive(), nil
		}
	}
	return false, err
}
