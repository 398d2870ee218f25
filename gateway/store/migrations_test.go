package store_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// Migrations only add (docs/migrations.md). This is the list of what adds: a statement of any
// other form is refused, and what takes a lock for long must be accounted for below.
var (
	createTable = regexp.MustCompile(`(?is)^CREATE TABLE (shield_[a-z_]+) \(.*\)( STRICT)?$`)
	createIndex = regexp.MustCompile(`(?is)^CREATE (UNIQUE )?INDEX (shield_[a-z_]+) ON (shield_[a-z_]+) `)
	alterTable  = regexp.MustCompile(`(?is)^ALTER TABLE (shield_[a-z_]+)\s+(.*)$`)
	addColumn   = regexp.MustCompile(`(?is)^ADD COLUMN [a-z_]+ [a-z]+(.*)$`)
	// constant is a default that a database keeps in its catalogue, so that no row is written.
	constant   = regexp.MustCompile(`(?i)\bDEFAULT ('[^']*'|-?[0-9]+|true|false)`)
	defaultOf  = regexp.MustCompile(`(?i)\bDEFAULT\b`)
	notNull    = regexp.MustCompile(`(?i)\bNOT NULL\b`)
	constraint = regexp.MustCompile(`(?i)\b(UNIQUE|CHECK|PRIMARY KEY|GENERATED)\b`)
	comment    = regexp.MustCompile(`(?m)--.*$`)
)

// indexesOnOldTables are the indexes that a migration builds on a table that was there before:
// Postgres lets nobody write to it meanwhile. Each says why that is short.
var indexesOnOldTables = map[string]string{
	"shield_sessions_identity": "its column is new, so that no row belongs into it: one read of the table, some 0.1 s for a million sessions",
}

// faultsOf returns what is wrong with a migration.
func faultsOf(text string) []string {
	var faults []string
	made := map[string]bool{}
	for sql := range strings.SplitSeq(comment.ReplaceAllString(text, ""), ";") {
		sql = strings.TrimSpace(sql)
		if sql == "" {
			continue
		}
		if m := createTable.FindStringSubmatch(sql); m != nil {
			made[m[1]] = true
		} else if m := createIndex.FindStringSubmatch(sql); m != nil {
			if made[m[3]] {
				continue
			}
			if m[1] != "" {
				faults = append(faults, "a unique index on a table that was there: what the release before writes would be refused: "+sql)
			} else if indexesOnOldTables[m[2]] == "" {
				faults = append(faults, "an index on a table that was there: say in indexesOnOldTables why building it is short: "+sql)
			}
		} else if m := alterTable.FindStringSubmatch(sql); m != nil {
			for part := range strings.SplitSeq(m[2], ",") {
				faults = append(faults, faultsOfColumn(strings.TrimSpace(part))...)
			}
		} else {
			faults = append(faults, "it does not only add: "+sql)
		}
	}
	return faults
}

func faultsOfColumn(sql string) []string {
	m := addColumn.FindStringSubmatch(sql)
	switch {
	case m == nil:
		return []string{"it does not only add a column: " + sql}
	case constraint.MatchString(m[1]):
		return []string{"a rule that what the release before writes may break: " + sql}
	case defaultOf.MatchString(m[1]) && !constant.MatchString(m[1]):
		return []string{"a default that is no constant writes every row: " + sql}
	case notNull.MatchString(m[1]) && !constant.MatchString(m[1]):
		return []string{"NOT NULL without a default: what the release before writes is refused: " + sql}
	case notNull.MatchString(m[1]) && strings.Contains(strings.ToUpper(m[1]), "REFERENCES"):
		return []string{"a reference that may not be NULL: " + sql}
	}
	return nil
}

func migrationsOf(t *testing.T, engine string) map[string]string {
	t.Helper()
	files, err := filepath.Glob(engine + "/migrations/*.sql")
	if err != nil || len(files) == 0 {
		t.Fatalf("%s: %v, %v", engine, files, err)
	}
	all := map[string]string{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		all[filepath.Base(file)] = string(text)
	}
	return all
}

func TestMigrationsOnlyAdd(t *testing.T) {
	for _, engine := range []string{"postgres", "sqlite"} {
		for name, text := range migrationsOf(t, engine) {
			if version, err := strconv.Atoi(name[:4]); err != nil || version == 1 {
				continue // there was nothing before it
			}
			for _, fault := range faultsOf(text) {
				t.Errorf("%s/%s: %s", engine, name, fault)
			}
		}
	}
}

func TestMigrationsAreTheSameStepsOnBothDatabases(t *testing.T) {
	var names [2][]string
	for i, engine := range []string{"postgres", "sqlite"} {
		for name := range migrationsOf(t, engine) {
			names[i] = append(names[i], name)
		}
		slices.Sort(names[i])
	}
	if !slices.Equal(names[0], names[1]) {
		t.Errorf("postgres has %v, sqlite has %v", names[0], names[1])
	}
}

func TestMigrationsThatTakeAwayAreFound(t *testing.T) {
	for sql, want := range map[string]string{
		`DROP TABLE shield_mail`:                                                              "not only add",
		`DROP INDEX shield_mail_due`:                                                          "not only add",
		`TRUNCATE shield_mail`:                                                                "not only add",
		`UPDATE shield_users SET name = ''`:                                                   "not only add",
		`DELETE FROM shield_kv`:                                                               "not only add",
		`CREATE TRIGGER x AFTER INSERT ON shield_mail BEGIN SELECT 1`:                         "not only add",
		`CREATE TABLE other (id text)`:                                                        "not only add",
		`ALTER TABLE shield_users RENAME TO shield_people`:                                    "not only add a column",
		`ALTER TABLE shield_users RENAME COLUMN name TO label`:                                "not only add a column",
		`ALTER TABLE shield_users DROP COLUMN name`:                                           "not only add a column",
		`ALTER TABLE shield_users ADD COLUMN a text, DROP COLUMN name`:                        "not only add a column",
		`ALTER TABLE shield_users ALTER COLUMN name TYPE varchar`:                             "not only add a column",
		`ALTER TABLE shield_users ALTER COLUMN name SET NOT NULL`:                             "not only add a column",
		`ALTER TABLE shield_users ADD CONSTRAINT x CHECK (name <> '')`:                        "not only add a column",
		`ALTER TABLE shield_users ADD COLUMN a text NOT NULL`:                                 "without a default",
		`ALTER TABLE shield_users ADD COLUMN a timestamptz DEFAULT now()`:                     "no constant",
		`ALTER TABLE shield_users ADD COLUMN a text UNIQUE`:                                   "may break",
		`ALTER TABLE shield_users ADD COLUMN a text CHECK (a <> '')`:                          "may break",
		`ALTER TABLE shield_users ADD COLUMN a text DEFAULT '' NOT NULL REFERENCES shield_kv`: "may not be NULL",
		`CREATE UNIQUE INDEX shield_users_name ON shield_users (name)`:                        "unique index",
		`CREATE INDEX shield_users_name ON shield_users (name)`:                               "say in indexesOnOldTables",
	} {
		if got := strings.Join(faultsOf("-- why\n"+sql+";\n"), "\n"); !strings.Contains(got, want) {
			t.Errorf("faultsOf(%s) = %q, want %q", sql, got, want)
		}
	}
	fine := `-- A table of its own; with everything.
		CREATE TABLE shield_new (id text PRIMARY KEY, n integer NOT NULL CHECK (n > 0)) STRICT;
		CREATE UNIQUE INDEX shield_new_n ON shield_new (n);
		ALTER TABLE shield_users ADD COLUMN a text, ADD COLUMN b integer NOT NULL DEFAULT 0;
		ALTER TABLE shield_users ADD COLUMN c uuid REFERENCES shield_identities (id) ON DELETE SET NULL;`
	if got := faultsOf(fine); len(got) != 0 {
		t.Errorf("faultsOf() = %q, want none", got)
	}
}
