package laptop

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"keyway/internal/agents"
	"keyway/internal/api"
	"keyway/internal/dirs"
	"keyway/internal/hostnames"
	"keyway/internal/keyway"
	"keyway/internal/link"
	"keyway/internal/policy"
	"keyway/internal/sshconfig"
	"keyway/internal/unixsock"
)

// Health is the result of a check.
type Health string

// The findings of a check: all is well, something may fail, something fails.
const (
	Healthy Health = "ok"
	Warning Health = "warn"
	Failing Health = "fail"
)

// Finding is one line of the doctor's report.
type Finding struct {
	Check   string          `json:"check"`
	Health  Health          `json:"health"`
	Message string          `json:"message"`
	Next    string          `json:"next,omitempty"` // as in keyway.Error, as is Advice
	Advice  []keyway.Advice `json:"-"`
}

func found(check string, h Health, format string, args ...any) Finding {
	return Finding{Check: check, Health: h, Message: fmt.Sprintf(format, args...)}
}

// then returns f with the next step.
func (f Finding) then(format string, args ...any) Finding {
	f.Next = fmt.Sprintf(format, args...)
	return f
}

// advise returns f with a step that may help.
func (f Finding) advise(step keyway.Step, about ...string) Finding {
	f.Advice = append(f.Advice, keyway.Advice{Step: step, About: about})
	return f
}

// fault returns the finding for a failed call.
func fault(check string, h Health, err error) Finding {
	e := keyway.AsError(err)
	return Finding{Check: check, Health: h, Message: e.Message, Next: e.Next, Advice: e.Advice}
}

// CheckTimeout bounds the time of one program in a check: a hanging agent or daemon is a
// finding, not a reason to wait.
const CheckTimeout = 5 * time.Second

// CheckAll makes every possible check: without keyway's directories, their files cannot be checked.
// local asks the node of this machine.
func CheckAll(ctx context.Context, local func(context.Context) (api.Info, error)) []Finding {
	findings := []Finding{checkClient(ctx)}
	home, err := os.UserHomeDir()
	if err != nil {
		return append(findings, fault("home", Failing, keyway.Errorf(keyway.BadConfig, "there is no home directory: %w", err).Hint("set HOME")))
	}
	findings = append(findings, checkHome(ctx, home)...)
	here, err := New(nil)
	if err != nil {
		return append(append(findings, checkKeys(home, nil)...), fault("directories", Failing, err))
	}
	findings = append(findings, checkKeys(home, here.heldSoon(ctx))...)
	findings = append(findings, checkSockets(here.runtime), here.checkAgent(ctx))
	findings = append(append(findings, here.checkOthers(ctx)...), checkPolicy(), here.checkInclude(home))
	findings = append(findings, here.checkHosts(ctx)...)
	findings = append(findings, here.checkLink(ctx))
	findings = append(findings, here.checkJumps(ctx)...)
	return append(findings, checkEngines(ctx, local)...)
}

// oldestClient is the first OpenSSH that has all we use: SSH_ASKPASS_REQUIRE,
// by which the link's ssh brings its questions back, is of 8.4.
var oldestClient = [2]int{8, 4}

func checkClient(ctx context.Context) Finding {
	ctx, cancel := context.WithTimeout(ctx, CheckTimeout)
	defer cancel()
	out, err := exec.CommandContext(ctx, "ssh", "-V").CombinedOutput()
	if err != nil {
		if nobody := keyway.NoSuchUser(string(out)); nobody != nil {
			return fault("ssh", Failing, nobody)
		}
		return found("ssh", Failing, "the OpenSSH client cannot be run: %v", err).then("install it (Debian: apt-get install openssh-client)")
	}
	said := strings.TrimSpace(string(out))
	version, ok := clientVersion(said)
	switch {
	case !ok:
		return found("ssh", Warning, "this ssh is not OpenSSH: %q", said).then("put OpenSSH's first on the PATH")
	case version[0] < oldestClient[0] || version[0] == oldestClient[0] && version[1] < oldestClient[1]:
		return found("ssh", Failing, "OpenSSH %d.%d is too old: %d.%d is the first that can be used", version[0], version[1], oldestClient[0], oldestClient[1]).
			then("install a newer OpenSSH client")
	}
	if version[0] == 9 && version[1] < 9 || version[0] < 9 {
		return found("ssh", Healthy, "OpenSSH %d.%d; from 9.9 on its key exchange with a workspace is post-quantum, too", version[0], version[1])
	}
	return found("ssh", Healthy, "OpenSSH %d.%d", version[0], version[1])
}

// clientVersion reads what ssh -V says: OpenSSH_9.2p1 Debian-2, or
// OpenSSH_for_Windows_9.5p1.
func clientVersion(said string) (version [2]int, ok bool) {
	rest, ok := strings.CutPrefix(said, "OpenSSH_")
	if !ok {
		return version, false
	}
	rest = strings.TrimPrefix(rest, "for_Windows_")
	n, err := fmt.Sscanf(rest, "%3d.%3d", &version[0], &version[1])
	return version, err == nil && n == 2 && version[0] >= 0 && version[1] >= 0
}

// checkHome checks ~/.ssh: ssh refuses a configuration that others may write, and reads it from the
// home directory that the system has for the user.
func checkHome(ctx context.Context, home string) []Finding {
	var findings []Finding
	if account, err := sshconfig.AccountHome(ctx); err == nil && account != "" && account != filepath.Clean(home) {
		findings = append(findings, found("home", Warning, "HOME is %s, but ssh reads %s", home, filepath.Join(account, ".ssh")).
			advise(keyway.PrepareIn, account))
	}
	for _, path := range []string{filepath.Join(home, ".ssh"), filepath.Join(home, ".ssh", "config")} {
		info, err := os.Stat(path)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			findings = append(findings, found("~/.ssh", Failing, "%s cannot be looked at: %v", path, err).then("see who owns it: ls -ld %s", path))
		} else if runtime.GOOS != "windows" && info.Mode().Perm()&0o022 != 0 {
			findings = append(findings, found("~/.ssh", Failing, "others may write to %s, so ssh does not trust it", path).then("chmod go-w %s", path))
		}
	}
	if len(findings) == 0 {
		findings = append(findings, found("~/.ssh", Healthy, "nobody else may write to it"))
	}
	return findings
}

// heldSoon returns the keys that the user's agent lists within the time limit.
func (here *Laptop) heldSoon(ctx context.Context) []PublicKey {
	ctx, cancel := context.WithTimeout(ctx, CheckTimeout)
	defer cancel()
	keys, _ := here.Held(ctx)
	return keys
}

// checkKeys checks the usual key files. One that others may read is refused by ssh and ssh-add.
func checkKeys(home string, held []PublicKey) []Finding {
	files := KeyFiles(home)
	if len(files) == 0 && len(held) > 0 {
		return []Finding{found("key", Healthy, "in your agent, and none in %s", filepath.Join(home, ".ssh"))}
	}
	if len(files) == 0 {
		return []Finding{found("key", Warning, "there is no key in %s", filepath.Join(home, ".ssh")).
			advise(keyway.MakeKey)}
	}
	var findings []Finding
	for _, f := range files {
		info, err := os.Stat(f)
		switch {
		case err != nil:
			findings = append(findings, found("key", Failing, "%s cannot be looked at: %v", f, err).then("see who owns it: ls -l %s", f))
		case runtime.GOOS != "windows" && info.Mode().Perm()&0o077 != 0:
			findings = append(findings, found("key", Failing, "others may read %s, so ssh does not use it", f).then("chmod 600 %s", f))
		default:
			findings = append(findings, found("key", Healthy, "%s", f))
		}
	}
	return findings
}

// checkSockets binds a socket where the link and the agent have theirs.
func checkSockets(dir string) Finding {
	path := filepath.Join(dir, fmt.Sprintf(".doctor-%d", os.Getpid()))
	l, err := unixsock.Listen(path, 0o600)
	if err != nil {
		return found("sockets", Failing, "no socket can be made in %s: %v", dir, err).then("name a private directory with a short path: export XDG_RUNTIME_DIR=/path/of/yours")
	}
	l.Close()
	os.Remove(path)
	return found("sockets", Healthy, "%s", dir)
}

// checkAgent asks the agent that ssh will ask. ssh-add exits with 1 if it holds
// no key, and with 2 if there is none.
func (here *Laptop) checkAgent(ctx context.Context) Finding {
	ctx, cancel := context.WithTimeout(ctx, CheckTimeout)
	defer cancel()
	if keys, named := here.Held(ctx); named != "" {
		return found("agent", Healthy, "%s, which your configuration names, holds %s", named, Count(len(keys), "key"))
	}
	out, _, err := here.addList(ctx, "")
	var exit *exec.ExitError
	switch {
	case err == nil:
		return found("agent", Healthy, "it holds %s", Count(bytes.Count(out, []byte("\n")), "key"))
	case ctx.Err() != nil:
		return found("agent", Failing, "the agent does not answer within %v", CheckTimeout).advise(keyway.OtherAgent)
	case errors.As(err, &exit) && exit.ExitCode() == 1:
		return found("agent", Warning, "it holds no key").advise(keyway.UnlockNow)
	case errors.As(err, &exit):
		return found("agent", Warning, "there is none").advise(keyway.AgentUnlocks)
	}
	return found("agent", Failing, "ssh-add cannot be run: %v", err).then("install the OpenSSH client (Debian: apt-get install openssh-client)")
}

// checkOthers reports agents that commands of this environment do not use.
func (here *Laptop) checkOthers(ctx context.Context) (findings []Finding) {
	holding, err := agents.Holding(ctx, here.AgentSocket())
	if err != nil {
		findings = append(findings, fault("agent", Failing, err))
	}
	for _, socket := range holding {
		findings = append(findings, found("agent", Warning, "another agent of keyway's, at %s, may hold keys, and this environment does not use it", socket).advise(keyway.LockAll))
	}
	return findings
}

// checkPolicy reads the policy as the agent does, and looks for hosts that its rules
// cannot tell by name.
func checkPolicy() Finding {
	path, err := dirs.Policy()
	if err != nil {
		return fault("policy", Failing, err)
	}
	rules, err := policy.Open(path)
	if err != nil {
		return fault("policy", Failing, err)
	}
	names := hostnames.Read(func() *policy.Policy { return rules })
	text := HashedText(rules, names)
	if text == "" {
		return found("policy", Healthy, "%s", policy.Named(path))
	}
	if _, unknown := names.Hashed(); unknown > 0 && rules.GoesByName() {
		return found("policy", Warning, "%s", text).then("name them in ~/.ssh/config (Host and HostName), or write the rules with fingerprints: ssh-keygen -l -f ~/.ssh/known_hosts")
	}
	return found("policy", Healthy, "%s", text)
}

// Count returns a number and a noun in words.
func Count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// checkInclude looks for the one line in the user's ssh_config.
func (here *Laptop) checkInclude(home string) Finding {
	change, err := sshconfig.PlanInclude(home, here.Hosts.ConfigPath())
	switch {
	case err != nil:
		return fault("ssh_config", Failing, err)
	case change.Needed():
		return found("ssh_config", Failing, "%s", change.Why).advise(keyway.PrepareNow)
	}
	return found("ssh_config", Healthy, "%s includes keyway's hosts", change.Path)
}

// checkHosts asks ssh itself for its configuration of a workspace: ssh may not read an existing
// Include line, because of another HOME or a file named by -F.
func (here *Laptop) checkHosts(ctx context.Context) []Finding {
	known, err := here.Hosts.List()
	if err != nil {
		return []Finding{fault("workspaces", Failing, err)}
	}
	if len(known) == 0 {
		return []Finding{found("workspaces", Healthy, "none yet").advise(keyway.MakeFirst)}
	}
	sample := known[0].Name
	host, err := sshconfig.Resolve(ctx, keyway.Place(sample))
	if err != nil {
		return []Finding{fault("workspaces", Failing, err)}
	}
	return []Finding{judgeHost(string(sample), host, len(known))}
}

// checkJumps checks the jump hosts of the places with workspaces.
func (here *Laptop) checkJumps(ctx context.Context) (findings []Finding) {
	known, err := here.Hosts.List()
	if err != nil {
		return nil // checkHosts tells
	}
	ctx, cancel := context.WithTimeout(ctx, CheckTimeout)
	defer cancel()
	var seen []string
	for _, e := range known {
		if e.Place == keyway.Local || slices.Contains(seen, string(e.Place)) {
			continue
		}
		seen = append(seen, string(e.Place))
		way, err := sshconfig.Hops(ctx, e.Place)
		if err != nil {
			continue
		}
		for _, h := range way {
			if note := link.Apart(h.Name, h.ProxyCommand); note != "" {
				findings = append(findings, found("jump host", Warning, "%s", note).then("or write ProxyJump in place of the ProxyCommand"))
			}
		}
		note := SlowJump(ctx, way)
		if note != "" && !slices.Contains(seen, note) {
			seen = append(seen, note)
			findings = append(findings, found("jump host", Healthy, "%s", note))
		}
	}
	return findings
}

func judgeHost(name string, host sshconfig.Host, known int) Finding {
	program, _, ours := strings.Cut(host.ProxyCommand, " proxy ")
	if !ours {
		return found("workspaces", Failing, "ssh %s would not come by keyway but go to %s", name, host.HostName).advise(keyway.PrepareNow)
	}
	path := unescape(program)
	if _, err := os.Stat(path); err != nil {
		return found("workspaces", Failing, "ssh %s would run a keyway that is not there: %s", name, path).advise(keyway.RenewEntries)
	}
	return found("workspaces", Healthy, "ssh knows %s by name", Count(known, "workspace"))
}

// unescape returns the path in a generated ProxyCommand, as ssh -G prints it.
func unescape(word string) string {
	if runtime.GOOS == "windows" {
		return strings.Trim(word, `"`)
	}
	var b strings.Builder
	for i := 0; i < len(word); i++ {
		if word[i] == '\\' && i+1 < len(word) {
			i++
		}
		b.WriteByte(word[i])
	}
	return strings.ReplaceAll(b.String(), "%%", "%")
}

// checkLink asks the link, if there is one: it is started when it is needed.
func (here *Laptop) checkLink(ctx context.Context) Finding {
	ctx, cancel := context.WithTimeout(ctx, CheckTimeout)
	defer cancel()
	l, err := link.Running(ctx, here.runtime, here.progress)
	if link.Unanswered(err) {
		return fault("link", Failing, err)
	}
	if ctx.Err() != nil {
		return found("link", Failing, "the link does not answer within %v", CheckTimeout).advise(keyway.StopLinkOrRead, logPath())
	}
	if err != nil {
		return found("link", Healthy, "not running; it is started when it is needed")
	}
	s, err := l.Status(ctx)
	if err != nil {
		return found("link", Failing, "%s", keyway.AsError(err).Message).advise(keyway.StopLink)
	}
	if name, ours, theirs := s.OtherEngine(); name != "" {
		return found("link", Warning, "workspaces of this machine use %s=%q, as the command did that started the link, and yours is %q", name, theirs, ours).advise(keyway.StopLink)
	}
	return found("link", Healthy, "process %d, version %s, %s", s.PID, s.Version, Count(len(s.Places), "place"))
}

func logPath() string {
	path, err := dirs.LinkLog()
	if err != nil {
		return "link.log in keyway's state directory"
	}
	return path
}

// checkEngines reports what workspaces on this machine can be, as the local node
// sees it. That there is no Docker here is no fault: most people's workspaces are
// elsewhere.
func checkEngines(ctx context.Context, local func(context.Context) (api.Info, error)) []Finding {
	if runtime.GOOS != "linux" {
		return []Finding{found("local", Healthy, "workspaces on this machine need Linux; those at other places do not")}
	}
	ctx, cancel := context.WithTimeout(ctx, CheckTimeout)
	defer cancel()
	info, err := local(ctx)
	if err != nil {
		return []Finding{fault("local", Warning, err)}
	}
	var findings []Finding
	usable := false
	for _, e := range info.Engines {
		switch {
		case e.Usable:
			usable = true
			findings = append(findings, found(e.Name, Healthy, "can be used for workspaces on this machine"))
		case e.Why == nil:
			findings = append(findings, found(e.Name, Warning, "cannot be used, and does not tell why"))
		case usable:
			findings = append(findings, found(e.Name, Healthy, "not needed, and not usable: %s", e.Why.Message))
		case e.Why.Kind == keyway.EngineAbsent:
			findings = append(findings, found(e.Name, Healthy, "not on this machine; workspaces here can be plain processes (the engine %s)", keyway.EngineWith(false)))
		default:
			findings = append(findings, fault(e.Name, Warning, e.Why))
		}
	}
	return findings
}
