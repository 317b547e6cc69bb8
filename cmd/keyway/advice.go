package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"keyway/internal/api"
	"keyway/internal/keyway"
	"keyway/internal/laptop"
	"keyway/internal/plain"
	"keyway/internal/sshconfig"
)

// sentences holds the text for each step, which the user types on this command line. The values are
// words of a command, quoted where a shell needs it.
var sentences = map[keyway.Step]string{
	keyway.SeeWorkspaces:   "see which there are: keyway ls",
	keyway.ListWorkspaces:  "keyway ls",
	keyway.SeeOrMake:       "see which there are: keyway ls; make one: keyway up --name NAME",
	keyway.SeeAt:           "see which there are: keyway ls --on %s",
	keyway.SeeLeft:         "see: keyway ls",
	keyway.PinAnew:         "restore it from where it came from, or remove it and make it again: keyway pin",
	keyway.WithoutAgent:    "make it without --forward-agent, and use ssh -A where the agent is needed",
	keyway.IsAPlace:        "see which workspaces are there: keyway ls --on %s",
	keyway.RemoveSome:      "remove some of them, by name, with keyway rm; see which there are: keyway ls",
	keyway.AddEachAgain:    "move it away, and add each workspace once more with keyway add:\nmv %[1]s %[1]s.broken",
	keyway.ExampleOfAdding: "if it is the workspace: keyway add PLACE/%s   (with yours for PLACE)",

	keyway.LeaveOut:          "leave --%s out; or use containers: --engine " + keyway.EngineWith(true),
	keyway.ChangeOrLeaveOut:  "change it, or leave --%s out",
	keyway.LeaveOutOrCgroup:  "leave --%s out, or have the place's administrator switch on that cgroup controller",
	keyway.OtherName:         "choose another name: --name %s",
	keyway.RemoveKnownKey:    "or, if that host no longer exists, remove its key: ssh-keygen -R %s -f %s",
	keyway.NameImage:         "for example: --image %s\nor run without containers: --engine " + keyway.EngineWith(false),
	keyway.NearestImage:      "the nearest at the place: --image %s",
	keyway.WithoutContainer:  "or do without a container: --engine " + keyway.EngineWith(false),
	keyway.UseContainers:     "or use containers: --engine " + keyway.EngineWith(true),
	keyway.InstallEngine:     "install it, or run without containers: --engine " + keyway.EngineWith(false),
	keyway.SeeEngine:         "see whether it runs, or use: --engine " + keyway.EngineWith(false),
	keyway.UpdateEngine:      "update %s at this place to %s or newer, or use: --engine " + keyway.EngineWith(false),
	keyway.GoThere:           "let keyway go there: keyway up --on %s\nor use this machine's Docker: unset DOCKER_HOST DOCKER_CONTEXT; docker context use default",
	keyway.WithoutGPUs:       "leave --gpus out",
	keyway.FewerGPUs:         "ask for what there is: --gpus %s",
	keyway.NameGPUs:          "name them: --gpus device=%s",
	keyway.EitherGPUs:        "leave --gpus out, or --env %s",
	keyway.WaitForGPUs:       "wait for them: --gpus %s --wait",
	keyway.WaitWithGPUs:      "for example: --gpus 2 --wait",
	keyway.WithoutWait:       "leave --wait out: the engine then gives the GPUs that it has",
	keyway.MeantTemplate:     "did you mean: keyway up %s",
	keyway.NewerDriver:       "update the driver to %s or later, or take an image of CUDA %s, such as that of: keyway up %s",
	keyway.SeeTemplates:      "see which there are: keyway templates\nor name an image: keyway up --image IMAGE",
	keyway.YourTemplate:      "tell its administrator, and use a template of yours until then: keyway templates",
	keyway.PublishAnew:       "or write the file again: keyway templates publish TEMPLATE",
	keyway.NameTemplate:      "name one: keyway up %s",
	keyway.AsTemplate:        "leave --%s out: the template decides it",
	keyway.ExampleOfTemplate: "see an example: keyway up --help",
	keyway.MakeHere:          "or make the workspace here: --on local",
	keyway.GPUForms:          "--gpus all, --gpus 2, --gpus device=0,3, or UUIDs as nvidia-smi -L prints them: --gpus GPU-…,GPU-…",
	keyway.SetIfItRuns:       "or, if the driver is known to run it: -e %s",
	keyway.NumericUser:       "give a number instead: --user 1000:1000",
	keyway.EitherUser:        "leave --user or --as-me out",
	keyway.PlainUser:         "choose a user with a plain name: keyway up --user NAME",
	keyway.OtherWorkdir:      "give a directory that the image %s has: --workdir DIR",
	keyway.MakeWorkdir:       "make it, or leave --workdir out",
	keyway.NotReadOnly:       "leave --read-only out, or name the Podman of the place itself: --engine %s",
	keyway.MountForms: "give two absolute paths, at the place and in the workspace: -v /data:/mnt/data or -v /data:/mnt/data:ro\n" +
		"or the name of a volume, and where it is in the workspace: -v cache:/mnt/cache",
	keyway.MountElsewhere:   "mount it elsewhere: -v %s:/mnt/data",
	keyway.MountReadOnly:    "mount it read-only: -v %s:%s:ro",
	keyway.CorrectMount:     "make it there, or correct the path: -v %s:%s",
	keyway.LeaveVolumeOut:   "use the data where it is and leave -v %s:%s out; or use containers: --engine " + keyway.EngineWith(true),
	keyway.UlimitForm:       "for example: --ulimit memlock=-1; see which there are: man 2 setrlimit",
	keyway.UlimitOnce:       "give both of its values at once, the soft and the hard one: --ulimit %s=1024:4096",
	keyway.TextOnly:         "write it in UTF-8, without a NUL; what is named so at the place needs another name: mv OLD NEW",
	keyway.CapabilityForm:   "for example: --cap-add NET_RAW; see which there are: man 7 capabilities",
	keyway.NameKeys:         "name the keys that may enter: --key KEY",
	keyway.LessShm:          "ask for less: --shm-size %s",
	keyway.MoreShm:          "ask for more: --shm-size %s",
	keyway.LowerUlimit:      "ask for no more than --ulimit %s=%s, or have the administrator raise it in /etc/security/limits.conf",
	keyway.LinuxOrContainer: "use containers here: --engine " + keyway.EngineWith(true) + "; or a Linux place: --on HOST",

	keyway.InsteadForward: "forward your agent into it: keyway up --forward-agent",
	keyway.InsteadGPUs:    "ask for GPUs: keyway up --gpus all",
	keyway.ChooseGPUs:     "see which there are: keyway gpus; then ask for some: keyway up --gpus 2",
	keyway.InsteadIPC:     "choose it, for example: keyway up --ipc host",
	keyway.InsteadNetwork: "choose it, for example: keyway up --network host",
	keyway.InsteadLimits:  "choose them, for example: keyway up --cpus 8 --memory 64gb",
	keyway.InsteadMount:   "mount it, for example: keyway up -v /data:/mnt/data",
	keyway.InsteadName:    "name it: keyway up --name NAME",
	keyway.InsteadPlace:   "choose the place: keyway up --on PLACE",
	keyway.InsteadSecret:  "give it a secret, for example: keyway up --secret token=./token",
	keyway.InsteadService: "make a workspace of that service: keyway up SERVICE",
	keyway.InsteadLogs:    "see a job's output: keyway logs NAME",
	keyway.InsteadOpen:    "open a port: keyway open NAME PORT",
	keyway.InsteadRun:     "start a job: keyway run NAME -- COMMAND",
	keyway.InsteadStop:    "end it: keyway stop NAME, or keyway rm NAME",

	keyway.NamePlace:      "name a place: --on HOST",
	keyway.AddHost:        "add it to ~/.ssh/config (Host %s), or name another place",
	keyway.SeePlace:       "see where it stops: keyway status %s",
	keyway.StatusNow:      "keyway status %s",
	keyway.UnlockNow:      "keyway unlock",
	keyway.UnlockFile:     "keyway unlock %s",
	keyway.UnlockKey:      "unlock your key: keyway unlock",
	keyway.UnlockYours:    "unlock yours: keyway unlock",
	keyway.UnlockFirst:    "unlock a key first: keyway unlock",
	keyway.LockAll:        "have every agent forget its keys: keyway lock",
	keyway.StartAgent:     "start one and unlock your key: keyway unlock",
	keyway.AgentByUnlock:  "it is started when you unlock a key: keyway unlock",
	keyway.AgentUnlocks:   "start one and unlock your key: keyway unlock",
	keyway.OtherAgent:     "end it, and start another: keyway unlock",
	keyway.DebugAgent:     "see what is wrong: keyway agent -d",
	keyway.LogElsewhere:   "an agent that cannot log does not start; say where it can: keyway agent -O audit=PATH",
	keyway.PolicyForms:    "-O policy= takes openssh, standard or the path of a file",
	keyway.CheckPolicy:    "correct it, and check it again: keyway policy check",
	keyway.Prepare:        "add the line for them to ~/.ssh/config: keyway init",
	keyway.PrepareNow:     "keyway init",
	keyway.PrepareIn:      "prepare that one: HOME=%s keyway init",
	keyway.MakeKey:        "make one: keyway init\nor, if your key is elsewhere: keyway unlock KEYFILE",
	keyway.RenewEntries:   "write the entries again: keyway unlock",
	keyway.StopLink:       "keyway link stop",
	keyway.EndLink:        "end it, with its connections: keyway link stop",
	keyway.ContinueLink:   "have it go on, with its connections: kill -CONT %s",
	keyway.StopLinkOrRead: "keyway link stop\nif that hangs too, see its log: %s",
	keyway.OtherPort:      "choose another one, or none: the next that is free is taken",
	keyway.IsKeyUnlocked:  "see whether your key is in the agent: keyway keys; put it there: keyway unlock",
	keyway.WhyUnsigned:    "an agent of keyway's has the reason in its log: keyway log",
	keyway.MakeFirst:      "keyway up",

	keyway.RemoveEnded:     "remove the records of the ended ones: keyway ssh NAME keyway rm --ended",
	keyway.WithoutTerminal: "run the command without one: keyway run -T",
}

// ofCommands holds the steps whose one value is itself a command, for the place. It is shown
// unquoted.
var ofCommands = map[keyway.Step]string{
	keyway.StartEngine:     "start it: %s\nor run without containers: --engine " + keyway.EngineWith(false),
	keyway.StartOwnEngine:  "start your own: %s\nor run without containers: --engine " + keyway.EngineWith(false),
	keyway.JoinEngineGroup: "join its group: %s, then log in again\nor run without containers: --engine " + keyway.EngineWith(false),
	keyway.InstallGPUs:     "%s\nor leave --gpus out",
}

// withContainers holds the steps whose sentence in sentences or ofCommands also offers plain
// processes. The sentences here omit that offer, for commands that cannot take it.
var withContainers = map[keyway.Step]string{
	keyway.InstallEngine:    "install it",
	keyway.StartEngine:      "start it: %s",
	keyway.StartOwnEngine:   "start your own: %s",
	keyway.JoinEngineGroup:  "join its group: %s, then log in again",
	keyway.SeeEngine:        "see whether it runs",
	keyway.UpdateEngine:     "update %s at this place to %s or newer",
	keyway.NameImage:        "name an image: %s",
	keyway.WithoutContainer: "",
}

// forEngines returns e with the advice that the user of cmd can follow: it offers plain processes
// only if the command's --engine accepts them.
func forEngines(cmd *cobra.Command, e *keyway.Error) *keyway.Error {
	if takesProcesses(cmd) {
		return e
	}
	with := *e
	with.Advice = slices.Clone(e.Advice)
	for i, a := range with.Advice {
		if _, ok := withContainers[a.Step]; ok {
			with.Advice[i].Step = containersOnly + a.Step
		}
	}
	return &with
}

// containersOnly precedes a step whose sentence is to be taken from withContainers. No place
// sends such a step.
const containersOnly = "containers-only: "

// takesProcesses reports whether a command has an --engine option that accepts plain processes.
func takesProcesses(cmd *cobra.Command) bool {
	if cmd == nil {
		return false
	}
	f := cmd.Flags().Lookup("engine")
	return f != nil && strings.Contains(f.Usage, keyway.EngineWith(false))
}

// ofPlaces holds the steps that are about the place which gave the advice. {on} becomes the
// option --on PLACE, if the place is known.
var ofPlaces = map[keyway.Step]string{
	keyway.SeeContainers:     "see which there are: keyway adopt{on}",
	keyway.MakeReadOnly:      "make a workspace of the same image instead: keyway up{on} --read-only --image IMAGE",
	keyway.RemoveFirst:       "see which there are, and remove that first: keyway ls{on}",
	keyway.SeeGPUs:           "see the holder of each: keyway gpus{on}",
	keyway.SeePlaceTemplates: "see what its templates allow: keyway templates{on}",
}

// ofWorkspaces holds the steps about one workspace. {it} becomes the operand of commands:
// PLACE/NAME where the place is known, because another place may have a workspace of the same
// name. {enter} becomes the command that enters it, {name} the bare name, {on} the option --on
// PLACE, and {other} the step's second value.
var ofWorkspaces = map[keyway.Step]string{
	keyway.MeantWorkspace:   "did you mean {it}? See all: keyway ls",
	keyway.IsAJob:           "its job {other}: keyway attach {it}/{other}; all its jobs: keyway ls {it}",
	keyway.IsWorkspace:      "{enter}; the places: keyway status",
	keyway.IsElsewhere:      "there is one: {it}",
	keyway.StartWorkspace:   "start it: keyway start {it}",
	keyway.StartNow:         "keyway start {it}",
	keyway.GoOn:             "let it go on: keyway start {it}",
	keyway.RestartWorkspace: "restart it: keyway stop {it} && keyway start {it}",
	keyway.RemoveLost:       "it cannot be started again; remove it: keyway rm {it}",
	keyway.RemoveRest:       "remove it: keyway rm {it}",
	keyway.EnterOrRemove:    "{enter}\nor remove it: keyway rm {it}\nor choose another name: --name {name}-2",
	keyway.UseOrRemove: "{enter}; start it again: keyway start {it}; remove it: keyway rm {it}\n" +
		"if it is gone from there: keyway forget {it}\nor choose another name: --name {name}-2",
	keyway.WaitOrRename:    "see what becomes of it: keyway ls\nor choose another name: --name {name}-2",
	keyway.SeeWhatCame:     "see the result: keyway ls {it}; if it is half made or missing, the same command makes it",
	keyway.FinishOrRemove:  "give the command again that made it, or remove it: keyway rm {it}",
	keyway.MakeAnew:        "make it again: keyway rm {it}; then: keyway up{on} --name {name}, with the options that it was made with",
	keyway.MakeProcesses:   "make it again: keyway rm {it} && keyway up{on} --engine " + keyway.EngineWith(false) + " --name {name}",
	keyway.ForgetIfRemoved: "if it was removed: keyway forget {it}",
	keyway.ForgetAndAdd:    "somebody may be in between. If you know that it was made again: keyway forget {it} && keyway add {it}",
	keyway.AskWhoMadeIt:    "was it made again, from another laptop? Ask who did. If so: keyway forget {it} && keyway add {it}",
	keyway.AddIfMade:       "if it was made on another laptop: keyway add {it}",
	keyway.AddWhenReached:  "when {other} can be reached: keyway add {it}",
	keyway.JobsGoOn:        "jobs and terminals go on: keyway ssh {it}; keyway attach {it}",
	keyway.SeeOrEndSession: "see it:          keyway attach {it}\nor end it first: keyway kill {it}",
	keyway.EndSession:      "end it first: keyway kill {it}",
}

// shortOption holds the options that only have a one-letter form.
var shortOption = map[string]string{"volume": "-v"}

const (
	maxAdvice = 8 // steps shown for one error
	maxAbout  = 4 // values shown for one step
)

// sentence returns the text for a step, or "" if this program does not know the step. at is the
// place that sent the advice, if one did; the advice is about that place.
func sentence(a keyway.Advice, at keyway.Place) string {
	if len(a.About) > maxAbout {
		return ""
	}
	if step, ok := strings.CutPrefix(string(a.Step), containersOnly); ok {
		return withValues(withContainers[keyway.Step(step)], a.About, ofCommands[keyway.Step(step)] != "")
	}
	if a.Step == keyway.CopyImage && len(a.About) == 1 {
		return "copy it there from a place that has it: keyway image copy PLACE " + plain.Shell(cmp.Or(string(at), string(keyway.Local))) + " " + plain.Shell(a.About[0])
	}
	if text, ok := ofCommands[a.Step]; ok && len(a.About) == 1 {
		return fmt.Sprintf(text, a.About[0])
	}
	if text, ok := ofWorkspaces[a.Step]; ok {
		return aboutWorkspace(text, at, a.About)
	}
	if text, ok := ofPlaces[a.Step]; ok && len(a.About) == 0 {
		return strings.ReplaceAll(text, "{on}", onOption(string(at)))
	}
	if a.Step == keyway.Example && len(a.About) == 2 {
		option := plain.Shell(a.About[0])
		if short, ok := shortOption[option]; ok {
			return "for example: " + short + " " + plain.Shell(a.About[1])
		}
		return "for example: --" + option + " " + plain.Shell(a.About[1])
	}
	if (a.Step == keyway.MeantTemplate || a.Step == keyway.NameTemplate) && len(a.About) == 1 {
		return fmt.Sprintf(sentences[a.Step], operand(a.About[0]))
	}
	if a.Step == keyway.MountElsewhere && slices.Equal(a.About, []string{""}) { // a tmpfs has no source
		return "mount it elsewhere, for example: --tmpfs /scratch:size=8gb"
	}
	return withValues(sentences[a.Step], a.About, false)
}

// withValues inserts values into a sentence. It quotes each value as one word of a command or, if
// whole is set, inserts it unchanged as a command. It returns "" if the sentence takes a
// different number of values.
func withValues(text string, values []string, whole bool) string {
	if len(values) != valuesOf(text) {
		return ""
	}
	about := make([]any, len(values))
	for i, value := range values {
		if about[i] = plain.Shell(value); whole {
			about[i] = value
		}
	}
	return fmt.Sprintf(text, about...)
}

// aboutWorkspace completes a sentence of ofWorkspaces. about holds NAME or PLACE/NAME and, for
// some steps, a second value.
func aboutWorkspace(text string, at keyway.Place, about []string) string {
	others := 0
	if strings.Contains(text, "{other}") {
		others = 1
	}
	if len(about) != 1+others {
		return ""
	}
	place, name := "", about[0]
	if i := strings.LastIndexByte(name, '/'); i >= 0 {
		place, name = name[:i], name[i+1:]
	}
	if at != "" {
		place = string(at)
	}
	it, on, other := name, "", ""
	if place != "" {
		it, on = place+"/"+name, onOption(place)
	}
	if others > 0 {
		other = about[1]
	}
	if strings.Contains(text, "{enter}") {
		text = strings.ReplaceAll(text, "{enter}", entering(place, name))
	}
	return strings.NewReplacer("{it}", plain.Shell(it), "{name}", plain.Shell(name), "{on}", on, "{other}", plain.Shell(other)).Replace(text)
}

// onOption returns the option that names a place, preceded by a space, or "" if place is empty.
func onOption(place string) string {
	if place == "" {
		return ""
	}
	return " --on " + plain.Shell(place)
}

// entering returns the command that enters a workspace. ssh finds only the workspaces that this
// laptop has registered.
func entering(place, name string) string {
	if place != "" && !isRegistered(place, name) {
		return "register it on this laptop: keyway add {it}"
	}
	return "enter it: keyway ssh {it}"
}

// isRegistered reports whether this laptop has registered the workspace. It also reports true if
// it cannot tell.
func isRegistered(place, name string) bool {
	here, err := laptop.New(nil)
	if err != nil {
		return true
	}
	known, err := here.Hosts.List()
	return err != nil || slices.ContainsFunc(known, func(e sshconfig.Entry) bool { return string(e.Place) == place && string(e.Name) == name })
}

// valuesOf returns the number of values that a sentence takes.
func valuesOf(text string) int {
	switch {
	case strings.Contains(text, "%[2]s"):
		return 2
	case strings.Contains(text, "%[1]s"):
		return 1
	}
	return strings.Count(text, "%s")
}

// next returns the steps that may help after an error, one on each line. at is the place that
// sent the advice, if one did.
func next(text string, advice []keyway.Advice, at keyway.Place) string {
	var lines []string
	if text != "" {
		lines = append(lines, text)
	}
	for _, a := range advice[:min(len(advice), maxAdvice)] {
		if s := sentence(a, at); s != "" {
			lines = append(lines, s)
		}
	}
	return toFill(strings.Join(lines, "\n"))
}

// nextOfWorkspace returns the steps that a workspace's state suggests, on one line.
func nextOfWorkspace(w keyway.Workspace) string {
	if _, ok := ofWorkspaces[w.Next]; !ok {
		return ""
	}
	return sentence(keyway.Advice{Step: w.Next, About: []string{string(w.Name)}}, w.Place)
}

// nextOf returns the steps that may help after e.
func nextOf(e *keyway.Error) string { return next(e.Next, e.Advice, cmp.Or(e.Host, e.At)) }

// at returns err with the place that its advice is about.
func at(place keyway.Place, err error) error {
	with := *keyway.AsError(err)
	with.At = place
	return &with
}

// spelledOut returns e with its advice as text, for scripts.
func spelledOut(e *keyway.Error) *keyway.Error {
	if e == nil {
		return nil
	}
	words := *e
	words.Next, words.Advice = nextOf(e), nil
	return &words
}

// spellEngines puts the reasons why engines of a place cannot be used, and the advice, into text.
func spellEngines(node *api.Info) {
	if node == nil {
		return
	}
	for i := range node.Engines {
		node.Engines[i].Why = spelledOut(node.Engines[i].Why)
	}
}
