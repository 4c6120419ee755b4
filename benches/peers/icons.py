"""About 3,700 colour icons of 64×64, for `elbo train --data OUT/icons`.

    python3 benches/peers/icons.py OUT

Needs npm. Fetches the package emoji-datasource-google (Apache License 2.0) into OUT and unpacks its small pictures into OUT/icons. They are
transparent PNG files; elbo lays them over white.
"""

import glob
import os
import subprocess
import sys
import tarfile

PACKAGE = "emoji-datasource-google@16.0.0"
INSIDE = "package/img/google/64/"


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    folder = sys.argv[1]
    icons = os.path.join(folder, "icons")
    os.makedirs(icons, exist_ok=True)
    if not glob.glob(os.path.join(folder, "emoji-datasource-google-*.tgz")):
        subprocess.run(["npm", "pack", PACKAGE], cwd=folder, check=True, stdout=subprocess.DEVNULL)
    (file,) = glob.glob(os.path.join(folder, "emoji-datasource-google-*.tgz"))
    with tarfile.open(file) as archive:
        for member in archive:
            name = os.path.basename(member.name)
            if member.isfile() and member.name.startswith(INSIDE) and name.endswith(".png"):
                with archive.extractfile(member) as picture, open(os.path.join(icons, name), "wb") as out:
                    out.write(picture.read())
    print(f"{icons}: {len(os.listdir(icons))} icons")


if __name__ == "__main__":
    main()
