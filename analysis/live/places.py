"""Where on earth the regions of clouds are, by the names that their providers give them.

A region is drawn where the place is that its provider names in its list of regions: for Amazon Web Services
https://docs.aws.amazon.com/global-infrastructure/latest/regions/, for Google Cloud
https://cloud.google.com/compute/docs/regions-zones. Where that is a state or a country, it is a town there that its
data centres are known to be near. Latitude and longitude are in degrees, to a tenth: good enough for a map, and
no distance is computed from them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

Place = tuple[str, float, float]

CAPE_TOWN = ("Cape Town", -33.9, 18.4)
HONG_KONG = ("Hong Kong", 22.3, 114.2)
TAIPEI = ("Taipei", 25.0, 121.6)
TOKYO = ("Tokyo", 35.7, 139.7)
SEOUL = ("Seoul", 37.6, 127.0)
OSAKA = ("Osaka", 34.7, 135.5)
MUMBAI = ("Mumbai", 19.1, 72.9)
SINGAPORE = ("Singapore", 1.3, 103.8)
SYDNEY = ("Sydney", -33.9, 151.2)
JAKARTA = ("Jakarta", -6.2, 106.8)
MELBOURNE = ("Melbourne", -37.8, 145.0)
MONTREAL = ("Montreal", 45.5, -73.6)
FRANKFURT = ("Frankfurt", 50.1, 8.7)
ZURICH = ("Zurich", 47.4, 8.5)
STOCKHOLM = ("Stockholm", 59.3, 18.1)
MILAN = ("Milan", 45.5, 9.2)
LONDON = ("London", 51.5, -0.1)
PARIS = ("Paris", 48.9, 2.4)
TEL_AVIV = ("Tel Aviv", 32.1, 34.8)
SAO_PAULO = ("Sao Paulo", -23.6, -46.6)
VIRGINIA = ("Northern Virginia", 39.0, -77.5)

PLACES: Mapping[str, Place] = {
    # Amazon Web Services
    "af-south-1": CAPE_TOWN,
    "ap-east-1": HONG_KONG,
    "ap-east-2": TAIPEI,
    "ap-northeast-1": TOKYO,
    "ap-northeast-2": SEOUL,
    "ap-northeast-3": OSAKA,
    "ap-south-1": MUMBAI,
    "ap-south-2": ("Hyderabad", 17.4, 78.5),
    "ap-southeast-1": SINGAPORE,
    "ap-southeast-2": SYDNEY,
    "ap-southeast-3": JAKARTA,
    "ap-southeast-4": MELBOURNE,
    "ap-southeast-5": ("Kuala Lumpur", 3.1, 101.7),
    "ap-southeast-6": ("Auckland", -36.8, 174.8),
    "ap-southeast-7": ("Bangkok", 13.8, 100.5),
    "ca-central-1": MONTREAL,
    "ca-west-1": ("Calgary", 51.0, -114.1),
    "cn-north-1": ("Beijing", 39.9, 116.4),
    "cn-northwest-1": ("Zhongwei", 37.5, 105.2),
    "eu-central-1": FRANKFURT,
    "eu-central-2": ZURICH,
    "eu-north-1": STOCKHOLM,
    "eu-south-1": MILAN,
    "eu-south-2": ("Zaragoza", 41.6, -0.9),
    "eu-west-1": ("Dublin", 53.3, -6.3),
    "eu-west-2": LONDON,
    "eu-west-3": PARIS,
    "il-central-1": TEL_AVIV,
    "me-central-1": ("Dubai", 25.2, 55.3),
    "me-south-1": ("Manama", 26.2, 50.6),
    "mx-central-1": ("Queretaro", 20.6, -100.4),
    "sa-east-1": SAO_PAULO,
    "us-east-1": VIRGINIA,
    "us-east-2": ("Columbus", 40.0, -83.0),
    "us-west-1": ("San Francisco", 37.8, -122.4),
    "us-west-2": ("Boardman", 45.8, -119.7),
    # Google Cloud
    "africa-south1": ("Johannesburg", -26.2, 28.0),
    "asia-east1": ("Changhua County", 24.1, 120.5),
    "asia-east2": HONG_KONG,
    "asia-northeast1": TOKYO,
    "asia-northeast2": OSAKA,
    "asia-northeast3": SEOUL,
    "asia-south1": MUMBAI,
    "asia-south2": ("Delhi", 28.6, 77.2),
    "asia-southeast1": SINGAPORE,
    "asia-southeast2": JAKARTA,
    "australia-southeast1": SYDNEY,
    "australia-southeast2": MELBOURNE,
    "europe-central2": ("Warsaw", 52.2, 21.0),
    "europe-north1": ("Hamina", 60.6, 27.2),
    "europe-north2": STOCKHOLM,
    "europe-southwest1": ("Madrid", 40.4, -3.7),
    "europe-west1": ("St. Ghislain", 50.4, 3.8),
    "europe-west2": LONDON,
    "europe-west3": FRANKFURT,
    "europe-west4": ("Eemshaven", 53.4, 6.8),
    "europe-west6": ZURICH,
    "europe-west8": MILAN,
    "europe-west9": PARIS,
    "europe-west10": ("Berlin", 52.5, 13.4),
    "europe-west12": ("Turin", 45.1, 7.7),
    "me-central1": ("Doha", 25.3, 51.5),
    "me-central2": ("Dammam", 26.4, 50.1),
    "me-west1": TEL_AVIV,
    "northamerica-northeast1": MONTREAL,
    "northamerica-northeast2": ("Toronto", 43.7, -79.4),
    "northamerica-south1": ("Queretaro", 20.6, -100.4),
    "southamerica-east1": SAO_PAULO,
    "southamerica-west1": ("Santiago", -33.4, -70.7),
    "us-central1": ("Council Bluffs", 41.3, -95.9),
    "us-east1": ("Moncks Corner", 33.2, -80.0),
    "us-east4": VIRGINIA,
    "us-east5": ("Columbus", 40.0, -83.0),
    "us-south1": ("Dallas", 32.8, -96.8),
    "us-west1": ("The Dalles", 45.6, -121.2),
    "us-west2": ("Los Angeles", 34.1, -118.2),
    "us-west3": ("Salt Lake City", 40.8, -111.9),
    "us-west4": ("Las Vegas", 36.2, -115.1),
}


def places_of(regions: Iterable[str]) -> dict[str, Place]:
    """Of these regions, where those are that are known."""
    return {region: PLACES[region] for region in regions if region in PLACES}
