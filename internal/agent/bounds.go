package agent

import "time"

// Bounds on what askers may send and hold.
const (
	maxMessage       = 256 << 10 // bytes of a message, as OpenSSH
	maxBinds         = 16        // hosts on the route of one connection, as OpenSSH
	maxSessionID     = 1 << 10   // bytes; a hash in practice
	maxDestinations  = 1024      // destinations of one key, as OpenSSH
	maxCerts         = 1024      // certificates that come with a card, as OpenSSH
	maxHopKeys       = 1024      // host keys of one host of a destination
	maxText          = 4 << 10   // bytes of a comment or a path
	maxUser          = 256       // bytes of a user name in a destination, as OpenSSH
	maxKeys          = 4096      // held by the agent
	maxConnections   = 1024      // of this machine, open at once; one more ends one of the process with the most
	maxRemote        = 512       // remote ones, likewise
	maxRemotePerPeer = 128       // of those, through one ssh
	maxRefusals      = 64        // on one connection, which then ends
	maxTotalPending  = 16        // questions open at once
	maxPending       = 4         // of those, of one remote asker
	maxRemotePending = 12        // of those, of all remote askers
	maxPerMinute     = 6         // questions that one remote asker may raise in a minute
	maxAllPerMinute  = 12        // questions that all of them may

	partialWithin = 10 * time.Second // for the rest of a message, once begun
	writeWithin   = 10 * time.Second // for an answer to be taken
	answerWithin  = 2 * time.Minute  // for the user to answer
	signWithin    = 2 * time.Minute  // for a security key to be touched
	denyHolds     = 30 * time.Second // a question that was denied is not asked again
)
