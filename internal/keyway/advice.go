package keyway

import "strings"

// Advice is a step that may help the user, as a value, and its subject. The face that shows it
// decides how the step is typed or clicked; cmd/keyway has a sentence for each. A step that is
// typed at the place or in another program needs no face, and is Error.Next.
type Advice struct {
	Step  Step     `json:"step"`
	About []string `json:"about,omitempty"`
}

// Step is one action of the user's. Steps travel from place to laptop, so they are only ever added
// to.
type Step string

// Steps about workspaces. About is the workspace, and the value that the comment names. A place
// names its workspaces without the place; a caller that knows it adds Of.
const (
	SeeWorkspaces    Step = "see-workspaces"    // About is empty
	ListWorkspaces   Step = "list-workspaces"   // About is empty; said where there is little room
	SeeOrMake        Step = "see-or-make"       // About is empty
	SeeAt            Step = "see-at"            // the place
	MeantWorkspace   Step = "meant-workspace"   // another one
	IsAJob           Step = "is-a-job"          // the workspace, the job
	IsAPlace         Step = "is-a-place"        // the place
	IsWorkspace      Step = "is-workspace"      // the workspace
	IsElsewhere      Step = "is-elsewhere"      //
	StartWorkspace   Step = "start-workspace"   //
	StartNow         Step = "start-now"         // said where there is little room
	GoOn             Step = "go-on"             // it is paused
	RestartWorkspace Step = "restart-workspace" //
	RemoveLost       Step = "remove-lost"       // its files are gone
	RemoveRest       Step = "remove-rest"       //
	RemoveFirst      Step = "remove-first"      // About is empty; another that uses the same
	RemoveSome       Step = "remove-some"       // About is empty
	EnterOrRemove    Step = "enter-or-remove"   //
	UseOrRemove      Step = "use-or-remove"     //
	WaitOrRename     Step = "wait-or-rename"    //
	SeeWhatCame      Step = "see-what-came"     // who made it was lost meanwhile
	FinishOrRemove   Step = "finish-or-remove"  // it is half made
	MakeAnew         Step = "make-anew"         //
	MakeProcesses    Step = "make-processes"    // make it again, of plain processes
	ForgetIfRemoved  Step = "forget-if-removed" //
	ForgetAndAdd     Step = "forget-and-add"    //
	AskWhoMadeIt     Step = "ask-who-made-it"   //
	AddWhenReached   Step = "add-when-reached"  // the place again
	AddIfMade        Step = "add-if-made"       // on another laptop
	AddEachAgain     Step = "add-each-again"    // the path of the broken list
	JobsGoOn         Step = "jobs-go-on"        //
	ExampleOfAdding  Step = "example-of-adding" //
	SeeLeft          Step = "see-left"          // About is empty
	PinAnew          Step = "pin-anew"          // About is empty
	SeeContainers    Step = "see-containers"    // About is empty; containers that can be adopted
	MakeReadOnly     Step = "make-read-only"    // About is empty; a workspace of its own instead
	WithoutAgent     Step = "without-agent"     // About is empty; make it without forwarding
	RemoveKnownKey   Step = "remove-known-key"  // of a host of that name; the file
)

// Steps about the request for a new workspace. An option is a Spec's field in the words of docker
// run, without dashes.
const (
	Example           Step = "example"             // an option, a value that is right
	LeaveOut          Step = "leave-out"           // an option that plain processes cannot have
	ChangeOrLeaveOut  Step = "change-or-leave"     // an option
	LeaveOutOrCgroup  Step = "leave-or-cgroup"     // an option
	OtherName         Step = "other-name"          // a name that is free
	NameImage         Step = "name-image"          // an image, for example
	CopyImage         Step = "copy-image"          // an image that the place lacks
	NearestImage      Step = "nearest-image"       // an image that is there
	WithoutContainer  Step = "without-container"   //
	UseContainers     Step = "use-containers"      //
	InstallEngine     Step = "install-engine"      //
	StartEngine       Step = "start-engine"        // the command, at the place
	StartOwnEngine    Step = "start-own-engine"    // the command, at the place
	JoinEngineGroup   Step = "join-engine-group"   // the command, at the place
	SeeEngine         Step = "see-engine"          //
	UpdateEngine      Step = "update-engine"       // its name, the version
	GoThere           Step = "go-there"            // the place
	WithoutGPUs       Step = "without-gpus"        //
	FewerGPUs         Step = "fewer-gpus"          // how many there are
	NameGPUs          Step = "name-gpus"           // indices
	EitherGPUs        Step = "either-gpus"         // the variable that demands it, too
	WaitForGPUs       Step = "wait-for-gpus"       // the requested value
	WaitWithGPUs      Step = "wait-with-gpus"      //
	WithoutWait       Step = "without-wait"        //
	SeeGPUs           Step = "see-gpus"            //
	InstallGPUs       Step = "install-gpus"        // the action at the place
	MeantTemplate     Step = "meant-template"      // a template
	NewerDriver       Step = "newer-driver"        // its version, the CUDA that runs, a template of that
	SeeTemplates      Step = "see-templates"       //
	YourTemplate      Step = "your-template"       // until an administrator has mended the place's
	PublishAnew       Step = "publish-anew"        // the place's own templates
	NameTemplate      Step = "name-template"       // one of several
	SeePlaceTemplates Step = "see-place-templates" // About is empty
	AsTemplate        Step = "as-template"         // an option that the place's template decides
	ExampleOfTemplate Step = "example-of-template" //
	MakeHere          Step = "make-here"           //
	GPUForms          Step = "gpu-forms"           //
	SetIfItRuns       Step = "set-if-it-runs"      // a variable, if the driver is known to run the image
	NumericUser       Step = "numeric-user"        //
	PlainUser         Step = "plain-user"          //
	EitherUser        Step = "either-user"         //
	OtherWorkdir      Step = "other-workdir"       // the image
	MakeWorkdir       Step = "make-workdir"        //
	NotReadOnly       Step = "not-read-only"       // the engine that can
	MountForms        Step = "mount-forms"         //
	MountElsewhere    Step = "mount-elsewhere"     // the source
	MountReadOnly     Step = "mount-read-only"     // the source, the target
	CorrectMount      Step = "correct-mount"       // the source, the target
	LeaveVolumeOut    Step = "leave-volume-out"    // the source, the target
	UlimitForm        Step = "ulimit-form"         //
	UlimitOnce        Step = "ulimit-once"         // its name
	TextOnly          Step = "text-only"           //
	CapabilityForm    Step = "capability-form"     //
	NameKeys          Step = "name-keys"           //
	LessShm           Step = "less-shm"            // the size
	MoreShm           Step = "more-shm"            // the size
	LowerUlimit       Step = "lower-ulimit"        // its name, the value
	LinuxOrContainer  Step = "linux-or-container"
)

// Steps that a user takes in place of a setting in a template's file. About is empty.
const (
	InsteadForward Step = "instead-forward" // when the workspace is made
	InsteadGPUs    Step = "instead-gpus"    //
	ChooseGPUs     Step = "choose-gpus"     //
	InsteadIPC     Step = "instead-ipc"     //
	InsteadNetwork Step = "instead-network" //
	InsteadLimits  Step = "instead-limits"  //
	InsteadMount   Step = "instead-mount"   //
	InsteadName    Step = "instead-name"    //
	InsteadPlace   Step = "instead-place"   //
	InsteadSecret  Step = "instead-secret"  //
	InsteadService Step = "instead-service" // of a Compose file
	InsteadLogs    Step = "instead-logs"    // in the workspace
	InsteadOpen    Step = "instead-open"    //
	InsteadRun     Step = "instead-run"     //
	InsteadStop    Step = "instead-stop"    //
)

// Steps about places, keys and this laptop.
const (
	NamePlace      Step = "name-place"      //
	AddHost        Step = "add-host"        // the host
	SeePlace       Step = "see-place"       // the place
	StatusNow      Step = "status-now"      // the place; said where there is little room
	UnlockNow      Step = "unlock-now"      // said where there is little room
	UnlockFile     Step = "unlock-file"     // the file
	UnlockKey      Step = "unlock-key"      //
	UnlockYours    Step = "unlock-yours"    //
	UnlockFirst    Step = "unlock-first"    //
	LockAll        Step = "lock-all"        // every agent of keyway's
	StartAgent     Step = "start-agent"     //
	AgentByUnlock  Step = "agent-by-unlock" //
	DebugAgent     Step = "debug-agent"     //
	LogElsewhere   Step = "log-elsewhere"   //
	PolicyForms    Step = "policy-forms"    //
	CheckPolicy    Step = "check-policy"    //
	Prepare        Step = "prepare"         // add the line to ~/.ssh/config
	PrepareNow     Step = "prepare-now"     // said where there is little room
	PrepareIn      Step = "prepare-in"      // another home directory
	MakeKey        Step = "make-key"        //
	OtherAgent     Step = "other-agent"     //
	AgentUnlocks   Step = "agent-unlocks"   //
	RenewEntries   Step = "renew-entries"   //
	StopLink       Step = "stop-link"       //
	EndLink        Step = "end-link"        // with all connections, which others may be using
	ContinueLink   Step = "continue-link"   // a stopped one; its process
	StopLinkOrRead Step = "stop-link-log"   // the path of its log
	OtherPort      Step = "other-port"      //
	IsKeyUnlocked  Step = "is-key-unlocked" //
	WhyUnsigned    Step = "why-unsigned"    // an agent gave no signature
	MakeFirst      Step = "make-first"      // there is no workspace yet; said where there is little room
)

// Steps about the sessions of a workspace. About is the session's name as the user
// writes it.
const (
	SeeOrEndSession Step = "see-or-end-session" //
	EndSession      Step = "end-session"        //
	RemoveEnded     Step = "remove-ended"       // About is empty
	WithoutTerminal Step = "without-terminal"   // About is empty
)

// Of returns PLACE/NAME, the subject of advice about a workspace.
func (p Place) Of(n Name) string { return string(p) + "/" + string(n) }

// Advise returns e with a further step for the user.
func (e *Error) Advise(step Step, about ...string) *Error {
	with := *e
	with.Advice = append(with.Advice[:len(with.Advice):len(with.Advice)], Advice{step, about})
	return &with
}

// AdviseTo returns one step of advice that belongs to no error.
func AdviseTo(step Step, about ...string) []Advice { return []Advice{{step, about}} }

// HelpOf returns e with the help of another error.
func (e *Error) HelpOf(other error) *Error {
	with := *e
	if from := AsError(other); from != nil {
		with.Next, with.Advice = from.Next, from.Advice
	}
	return &with
}

// Help returns all advice of e in the words of no face, for logs and tests.
func (e *Error) Help() string {
	lines := []string{}
	if e.Next != "" {
		lines = append(lines, e.Next)
	}
	for _, a := range e.Advice {
		lines = append(lines, strings.Join(append([]string{string(a.Step)}, a.About...), " "))
	}
	return strings.Join(lines, "\n")
}
