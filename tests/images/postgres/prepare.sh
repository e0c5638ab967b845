# Run by mmdebstrap on the machine that builds, with the new root in $1, before the packages are installed.
set -eu
# The container makes its own cluster.
mkdir -p "$1/etc/postgresql-common/createcluster.d"
echo "create_main_cluster = false" >"$1/etc/postgresql-common/createcluster.d/none.conf"
echo "en_US.UTF-8 UTF-8" >"$1/etc/locale.gen"
