# Run by mmdebstrap on the machine that builds, with the new root in $1 and the names of packages after it: leaves the
# packages, and what they need beyond the image, as files in the image, so that installing them needs no network.
set -eu
root=$1
shift
for package; do
    rm -f "$root"/var/cache/apt/archives/*.deb
    APT_CONFIG="$MMDEBSTRAP_APT_CONFIG" apt-get --yes --no-install-recommends --download-only install "$package"
    mkdir -p "$root/usr/share/drawbridge/packages/$package"
    mv "$root"/var/cache/apt/archives/*.deb "$root/usr/share/drawbridge/packages/$package/"
done
