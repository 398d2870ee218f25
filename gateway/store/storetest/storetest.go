// Package storetest is the conformance suite of the store's engines: what it asks of
// concurrency, atomicity, crashes and time holds on every database, or the engine is wrong.
package storetest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/materi/shield/gateway/account"
	"github.com/materi/shield/gateway/login"
	"github.com/materi/shield/gateway/mail"
	"github.com/materi/shield/gateway/seal"
	"github.com/materi/shield/gateway/session"
	"github.com/materi/shield/gateway/store"
	"github.com/materi/shield/sdk"
)

// Engine is how the suite gets at databases of one kind.
type Engine struct {
	// Fresh returns where an empty database is that lives as long as the test.
	Fresh func(t testing.TB) string
	// Open opens a database; the suite closes it. Two stores on one database are two gateways.
	Open func(ctx context.Context, where string) (*store.Store, error)
	// Exec runs SQL beside the store.
	Exec func(t testing.TB, where, sql string)
}

// Main is the body of TestMain: it fails when a goroutine is left, and lets the suite run
// the test binary again as a program that crashes.
func Main(m *testing.M, e Engine) int {
	if where := os.Getenv(crashWhere); where != "" {
		return crash(e, where, os.Getenv(crashToken))
	}
	code := m.Run()
	if code != 0 {
		return code
	}
	if err := goleak.Find(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// Run tests an engine.
func Run(t *testing.T, e Engine) {
	for _, c := range []struct {
		name string
		test func(*testing.T, Engine)
	}{
		{"Migrate/EightStartersAtOnce", migrateConcurrently},
		{"Migrate/RefusesAnAppliedMigrationThatDiffers", migrateDiffers},
		{"Migrate/LeavesNewerMigrationsAlone", migrateNewer},
		{"Migrate/PendingChangesNothing", migratePending},
		{"Account/RoundTrip", accountRoundTrip},
		{"Account/DeletedUserIsNotFoundAndFreesTheAddress", accountDeleted},
		{"Account/OneOfManyGetsTheAddress", accountAddressRace},
		{"Account/OneOfManyGetsTheIdentity", accountIdentityRace},
		{"Account/WhatCannotBeTextIsNotFound", accountText},
		{"Commit/IsAllOrNothing", commitAtomic},
		{"Commit/AppliesEverything", commitEverything},
		{"Commit/OneOf64SpendsAFlow", commitSpendsOnce},
		{"Commit/ExpiredFlowIsSpent", commitExpiredFlow},
		{"Commit/EndFlowsEndsThoseOfOneUserAndKind", commitEndFlows},
		{"Commit/NoSessionForAUserWhoIsNotActive", commitInactive},
		{"Commit/SuspensionAndLoginNeverLeaveASession", commitSuspensionRace},
		{"Commit/UpdateIsGuardedByStatus", commitUpdateGuard},
		{"Commit/RevokesAllSessionsButOne", commitRevokes},
		{"Commit/RevokesTheSessionsOfAnIdentity", commitRevokesIdentity},
		{"Commit/ManyAtOnceDoNotBlockEachOther", commitStress},
		{"Commit/EndFlowsOfEveryKind", endFlowsOfEveryKind},
		{"Commit/WhatIsForgottenIsNotTheLoginsOwn", forgetIsNotAnEntryOfTheLogin},
		{"Unlink/TakesWhatIsThere", unlinkCounts},
		{"Unlink/OneOfTwoKeepsTheLast", unlinkRace},
		{"Audit/RoundTrip", auditRoundTrip},
		{"Tokens/RoundTrip", tokensRoundTrip},
		{"KV/Conditions", kvConditions},
		{"KV/OneOfManyWins", kvRace},
		{"KV/ExpiredEntryIsNone", kvExpires},
		{"KV/VersionIsNeverSeenAgain", kvVersions},
		{"Session/RoundTrip", sessionRoundTrip},
		{"Session/RotatesOncePerGeneration", sessionRotateRace},
		{"Session/RotateNeedsALivingSession", sessionRotateDead},
		{"Session/UsedOnlyGrowsUpToTheCounter", sessionUsed},
		{"Session/RevokedOnce", sessionRevokeRace},
		{"Session/RevocationsAreReadOverAnOverlap", sessionRevocations},
		{"Session/64RefreshesOfOneTokenAreOneChain", refresh64},
		{"Session/KilledBetweenCommitAndAnswer", refreshKilled},
		{"Mail/EachMailIsClaimedOnce", mailClaims},
		{"Mail/ComesBackAfterTheClaim", mailReturns},
		{"Sweep/RemovesWhatHasExpired", sweepExpired},
		{"Sweep/SeveralAtOnce", sweepConcurrently},
		{"Unavailable/Closed", unavailableClosed},
		{"Unavailable/Deadline", unavailableDeadline},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			c.test(t, e)
		})
	}
}

// epoch is when the tests take place. Its fraction is what every engine can keep.
var epoch = time.Date(2026, 3, 4, 5, 6, 7, 891_234_000, time.UTC)

// open opens a database and gives it back when the test ends.
func open(t testing.TB, e Engine, where string) *store.Store {
	t.Helper()
	s, err := e.Open(t.Context(), where)
	if err != nil {
		t.Fatalf("open store: %v", err)
	}
	t.Cleanup(s.Close)
	return s
}

// fresh returns a migrated store of the test's own.
func fresh(t testing.TB, e Engine) *store.Store {
	t.Helper()
	s, _ := freshAt(t, e)
	return s
}

func freshAt(t testing.TB, e Engine) (*store.Store, string) {
	t.Helper()
	where := e.Fresh(t)
	s := open(t, e, where)
	if err := s.Migrate(t.Context()); err != nil {
		t.Fatalf("migrate: %v", err)
	}
	return s, where
}

// newUser returns a user with an address of its own.
func newUser(status account.Status) account.User {
	id := account.NewID()
	return account.User{
		ID: id, Email: id + "@example.com", Verified: status == account.Active, VerifiedBy: "corp", Name: "Zoë", AvatarURL: "https://example.com/z.png",
		Timezone: "Europe/Zurich", Language: "de-CH", Status: status, CreatedAt: epoch, UpdatedAt: epoch,
	}
}

func newIdentity(u account.User) account.Identity {
	return account.Identity{
		ID: account.NewID(), UserID: u.ID, Provider: "email", Issuer: "local", Subject: account.NewID(),
		Email: u.Email, CreatedAt: epoch, LastUsedAt: epoch,
	}
}

func newFlow(userID string) login.Flow {
	return login.Flow{
		ID: account.NewID(), Hash: seal.Random(32), Provider: "email", Kind: sdk.FlowVerify, Form: "password", UserID: userID,
		Sealed: []byte("sealed"), CreatedAt: epoch, ExpiresAt: epoch.Add(time.Hour),
	}
}

func newSession(userID string) session.Session {
	return session.Session{
		ID: account.NewID(), UserID: userID, Counter: 1, Salt: seal.Random(16), Method: "email", AMR: []string{"pwd"},
		IP: "192.0.2.1", UserAgent: "curl/8", CreatedAt: epoch, RotatedAt: epoch, LastUsedAt: epoch, ExpiresAt: epoch.Add(24 * time.Hour),
	}
}

func newMail() mail.Queued {
	return mail.Queued{ID: account.NewID(), Sealed: []byte("sealed"), CreatedAt: epoch, DueAt: epoch}
}

func commit(t testing.TB, s *store.Store, c login.Commit) []string {
	t.Helper()
	if c.Now.IsZero() {
		c.Now = epoch
	}
	revoked, err := s.Commit(t.Context(), c)
	if err != nil {
		t.Fatalf("Commit() = %v", err)
	}
	return revoked
}

// activeUser puts an active user in.
func activeUser(t testing.TB, s *store.Store) account.User {
	t.Helper()
	u := newUser(account.Active)
	commit(t, s, login.Commit{NewUser: &u})
	return u
}

// activeSession puts a session of a user in.
func activeSession(t testing.TB, s *store.Store, userID string) session.Session {
	t.Helper()
	v := newSession(userID)
	commit(t, s, login.Commit{NewSession: &v})
	return v
}

// atOnce runs f n times in parallel, all released together, and returns what each came to.
func atOnce(n int, f func(i int) error) []error {
	errs := make([]error, n)
	start := make(chan struct{})
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			<-start
			errs[i] = f(i)
		})
	}
	close(start)
	wg.Wait()
	return errs
}

// tally counts the nil errors and those that are want, and fails the test at any other.
func tally(t testing.TB, errs []error, want error) (good, refused int) {
	t.Helper()
	for _, err := range errs {
		switch {
		case err == nil:
			good++
		case errors.Is(err, want):
			refused++
		default:
			t.Errorf("unexpected error: %v", err)
		}
	}
	return good, refused
}
