# shellcheck shell=bash
# Sourced by backup.sh and restore.sh: what both know of settings, secrets and databases.

say() { echo "${me:?}: $*" >&2; }
die() {
	say "$*"
	exit 1
}
program() { command -v "$1" >/dev/null || die "$1 is missing: install the Debian package $2"; }

# setting NAME: the variable NAME, or what is in the file that NAME_FILE names.
setting() {
	local file=$1_FILE
	if [ -n "${!1:-}" ]; then
		printf '%s' "${!1}"
	elif [ -n "${!file:-}" ]; then
		[ -r "${!file}" ] || die "$file names a file that cannot be read"
		cat "${!file}"
	fi
}

# decoded TEXT: without the percent signs of a URL.
decoded() {
	local text=${1//\\/\\\\}
	printf '%b' "${text//%/\\x}"
}

# find_database sets kind, and path of a SQLite file, or url and schema of a Postgres
# database. The password goes from the URL into the environment, since everybody on the
# machine can read arguments; what libpq does not know of a URL is taken out of it.
# shellcheck disable=SC2034 # they are for the scripts
find_database() {
	local given scheme rest query='' userinfo part kept=''
	given=$(setting DATABASE_URL)
	case $given in
	'') die "DATABASE_URL or DATABASE_URL_FILE is needed" ;;
	sqlite:*)
		kind=sqlite path=${given#sqlite:}
		return
		;;
	postgres://* | postgresql://*) kind=postgres ;;
	*) die "DATABASE_URL is neither postgres://... nor sqlite:PATH" ;;
	esac
	scheme=${given%%://*} rest=${given#*://} schema=public
	[[ $rest != *\?* ]] || query=${rest#*\?}
	rest=${rest%%\?*}
	if [[ ${rest%%/*} == *@* ]]; then
		userinfo=${rest%%/*} userinfo=${userinfo%@*}
		if [[ $userinfo == *:* ]]; then
			PGPASSWORD=$(decoded "${userinfo#*:}")
			export PGPASSWORD
			rest=${userinfo%%:*}@${rest#"$userinfo"@}
		fi
	fi
	while [ -n "$query" ]; do
		part=${query%%&*}
		if [[ $query == *\&* ]]; then query=${query#*&}; else query=''; fi
		case $part in
		search_path=*) schema=$(decoded "${part#*=}") ;;
		password=*)
			PGPASSWORD=$(decoded "${part#*=}")
			export PGPASSWORD
			;;
		ssl*=* | host=* | port=* | user=* | dbname=* | target_session_attrs=* | connect_timeout=* | passfile=* | channel_binding=* | krbsrvname=* | gssencmode=*) kept+=${kept:+&}$part ;;
		esac
	done
	[[ $schema =~ ^[a-z_][a-z0-9_]*$ ]] || die "search_path must be one schema with a plain name"
	url=$scheme://$rest${kept:+?$kept}
}

sql() { psql --no-psqlrc --quiet --tuples-only --no-align --set ON_ERROR_STOP=1 --dbname "$url" --command "$1"; }
